"""Severities of graders as planted and as found, on a simulated university that has run through the warehouse.

    python -m benchmarks.grading --warehouse HOME --truth TRUTH.json [--speed]

Prints tables: kinds of graders by half-year, what the mean difference of two marks would have said beside; single
graders; with --speed the CPU seconds and memory of the whole analysis on the same marks.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from dagster_project.analyses.grading import AGREEMENT, SEVERITIES, analyse_grading
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.ingest.identity import read_key
from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse

SOURCE = "campus"


def kinds(rows: pd.DataFrame, planted: dict) -> pd.DataFrame:
    """Kinds by half-year with the planted points."""
    rows = rows[rows["grader_key"].isna() & rows["half_year_on"].notna() & (rows["graded_by"] != rows["compared_with"])]
    day = pd.to_datetime(rows["half_year_on"])
    half = (day.dt.year + np.where(day.dt.month > 6, 0.5, 0.0)).map("{:.1f}".format)
    points = [planted[kind].get(name, {}).get("points") for kind, name in zip(rows["graded_by"], half, strict=True)]
    return rows.assign(half_year=half, planted=points).dropna(subset="planted")


def graders(rows: pd.DataFrame, planted: dict, settings: Settings) -> pd.DataFrame:
    """Single graders who are shown, with the planted points."""
    key = read_key(settings)
    known = {f"{SOURCE}:{keyed_hash(name, key)}": points for name, points in planted.items()}
    rows = rows[rows["grader_key"].notna() & rows["is_shown"]]
    return rows.assign(planted=rows["grader_key"].map(known))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, required=True, help="folder with the build database")
    parser.add_argument("--truth", type=Path, required=True, help="the simulator's truth file")
    parser.add_argument("--speed", action="store_true", help="measure the analysis, too")
    arguments = parser.parse_args()
    truth = json.loads(arguments.truth.read_text())["grading"]
    settings = Settings(home=arguments.warehouse)
    store = Warehouse(settings)
    rows = store.read(SEVERITIES, where=f"source = '{SOURCE}'")
    found = kinds(rows, truth["kinds"])
    shown = found[found["is_shown"]]
    inside = (shown["severity_points"] - shown["planted"]).abs() <= 1.96 * shown["std_error_points"]
    print("| kind | half-year | marks | planted points | found | 95 % interval |\n|---|---|---|---|---|---|")
    for row in found.to_dict("records"):
        figures = "withheld | "
        if row["is_shown"]:
            interval = f"{row['severity_points_low']:.2f} to {row['severity_points_high']:.2f}"
            figures = f"{row['severity_points']:.2f} | {interval}"
        print(f"| {row['graded_by']} | {row['half_year']} | {row['mark_count']:,} | {row['planted']:.2f} | {figures} |")
    print(f"\n95 % interval holds the planted points in {inside.mean():.2f} of {len(shown)} kinds × half-years")

    agreed = store.read(AGREEMENT, where=f"source = '{SOURCE}' and is_shown")
    whole = rows[rows["grader_key"].isna() & rows["half_year_on"].isna() & rows["is_shown"]].set_index("graded_by")
    print(
        "\n| kind | planted | found | by the mean difference of two marks | planted drift a year | found |"
        "\n|---|---|---|---|---|---|"
    )
    for kind in truth["kinds"]:
        part = shown[shown["graded_by"] == kind]
        if kind not in whole.index or part.empty:
            continue
        row = whole.loc[kind]
        pair = agreed[(agreed["graded_by"] == kind) & (agreed["other_graded_by"] == row["compared_with"])]
        by_eye = -pair["difference_points"].iloc[0] if len(pair) else np.nan
        planted = np.average(part["planted"], weights=part["linked_mark_count"])
        drift = np.polyfit(part["half_year"].astype(float), part["planted"], 1)[0]
        print(
            f"| {kind} | {planted:.2f} | {row['severity_points']:.2f} ± {row['std_error_points']:.2f} | {by_eye:.2f} "
            f"| {drift:.2f} | {row['drift_points']:.2f} ± {row['std_error_drift']:.2f} |"
        )

    single = graders(rows, truth["graders"], settings)
    if len(single) > 2:
        # Planted before grades are cut to 0 to 100, of which the points show a part.
        correlation = np.corrcoef(single["planted"], single["severity_points"])[0, 1]
        slope = np.polyfit(single["severity_points"], single["planted"], 1)[0]
        print(f"\n{len(single)} graders: correlation {correlation:.3f}, planted = {slope:.2f} × found")

    if arguments.speed:
        begin = time.process_time()
        analyse_grading(store, settings, print)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print(f"\n{time.process_time() - begin:.0f} CPU s, {memory:.2f} GiB at most")


if __name__ == "__main__":
    main()
