"""One delivery, two warehouses, the second with another key, rows in another order and more threads: equal answers?

    python -m benchmarks.two_keys --landing warehouse/landing/campus --source campus [--first HOME] [--threads 4]
    python -m benchmarks.two_keys --landing path/to/anonymisedData.zip --source oulad

Builds the delivery once as it is (or takes a warehouse that was built from it: HOME) and once with its rows shuffled,
under a key of its own and with as many threads as said, each by `python -m dagster_project run`. Compared are the
models of risk (their version is a hash of all that a score depends on), what they foretold of each learner of the
back-test, and the scores of those who are active now. Learners are matched by their ids in the landing files, which the
two keys hide under other pseudonyms (OULAD's are none: there only order and threads differ).
"""

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.ingest.identity import read_key
from dagster_project.settings import Settings

IDS = {"learners.csv": "learner_id", "studentInfo.csv": "id_student"}
TOP = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", type=Path, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--first", type=Path, help="home of a warehouse that was built from the landing files")
    parser.add_argument("--threads", type=int, default=4, help="of the second warehouse")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.first.parent if arguments.first else None) as folder:
        homes = [arguments.first or Path(folder) / "first", Path(folder) / "second"]
        if arguments.first is None:
            run(homes[0], arguments.source, arguments.landing, 1)
        shuffled = shuffle(arguments.landing, Path(folder) / "landing")
        run(homes[1], arguments.source, shuffled, arguments.threads)
        compare(homes, sorted(read_ids(arguments.landing)), arguments.source)


def run(home: Path, source: str, landing: Path, threads: int) -> None:
    home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"LEARNING_WAREHOUSE_HOME": str(home), "LEARNING_WAREHOUSE_THREADS": str(threads)}
    command = [sys.executable, "-m", "dagster_project", "run", "--source", source, "--landing", str(landing)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("Published", "Seconds"))), flush=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def shuffle(landing: Path, to: Path) -> Path:
    """The same files with their rows in another order; a CSV with a line break within a field stays as it is."""
    rng = np.random.default_rng(0)
    if landing.suffix == ".zip":
        to = to.with_suffix(".zip")
        with zipfile.ZipFile(landing) as files, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
            for name in files.namelist():
                new.writestr(name, _shuffled_lines(files.read(name), rng))
        return to
    for path in sorted(x for x in landing.rglob("*") if x.is_file()):
        target = to / path.relative_to(landing)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            pq.write_table(table.take(rng.permutation(len(table))), target)
        else:
            target.write_bytes(_shuffled_lines(path.read_bytes(), rng) if path.suffix == ".csv" else path.read_bytes())
    return to


def _shuffled_lines(content: bytes, rng: np.random.Generator) -> bytes:
    header, *lines = content.splitlines(keepends=True)
    if any(line.count(b'"') % 2 for line in lines) or not lines or not lines[-1].endswith(b"\n"):
        return content
    return header + b"".join(lines[place] for place in rng.permutation(len(lines)))


def read_ids(landing: Path) -> set[str]:
    found = set()
    if landing.suffix == ".zip":
        with zipfile.ZipFile(landing) as files:
            names = {Path(name).name: name for name in files.namelist()}
            texts = {name: files.read(names[name]).decode(errors="replace") for name in IDS if name in names}
    else:
        texts = {path.name: path.read_text(errors="replace") for name in IDS for path in landing.rglob(name)}
    for name, text in texts.items():
        found |= {row[IDS[name]] for row in csv.DictReader(io.StringIO(text)) if row.get(IDS[name])}
    return found


def compare(homes: list[Path], ids: list[str], source: str) -> None:
    models, predictions, scores = zip(*(_tables(home, ids, source) for home in homes), strict=True)
    both = models[0].merge(models[1], on=["outcome", "model"], suffixes=("", " again"))
    print("\nModels (equal versions are equal to the bit):")
    print(both.to_string(index=False))
    assert len(both) == len(models[0]) == len(models[1])
    key = ["outcome", "split", "model", "enrollment", "week_number"]
    told = predictions[0].merge(predictions[1], on=key, how="outer", suffixes=("", " again"), indicator=True)
    print(f"\nBack-test: {len(told):,} predictions, {(told['_merge'] != 'both').sum()} of one warehouse only, largest")
    print(f"  difference {(told['probability'] - told['probability again']).abs().max():.1e}")
    if scores[0].empty and scores[1].empty:
        print("Scores: nobody is active on the last day of the data")
        return
    key = ["outcome", "enrollment"]
    scored = scores[0].merge(scores[1], on=key, how="outer", suffixes=("", " again"), indicator=True)
    for outcome, rows in scored.groupby("outcome"):
        gap = (rows["probability"] - rows["probability again"]).abs().max()
        ranked = [
            set(rows.sort_values([f"probability{x}", f"log_odds{x}"], ascending=False)["enrollment"].head(TOP))
            for x in ("", " again")
        ]
        print(
            f"Scores, {outcome}: {len(rows):,} learners, {(rows['_merge'] != 'both').sum()} of one warehouse only, "
            f"largest difference {gap:.1e}, {(rows['band'] != rows['band again']).sum()} in another band, "
            f"{len(ranked[0] & ranked[1])} of the top {TOP} the same"
        )


def _tables(home: Path, ids: list[str], source: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Models, predictions and scores; each enrollment by the learner's number among the ids, and its rest."""
    os.environ["LEARNING_WAREHOUSE_HOME"] = str(home)
    key = read_key(Settings())
    number = {f"{source}:{keyed_hash(one, key)}": f"learner {place}" for place, one in enumerate(ids)}
    number |= {f"{source}:{one}": f"learner {place}" for place, one in enumerate(ids)}  # a source without pseudonyms
    with duckdb.connect(str(home / "build.duckdb"), read_only=True) as connection:
        models = connection.execute(
            "select outcome, model, model_version, is_champion, decision from analytics.at_risk_models "
            "where file is not null order by all"
        ).df()
        tables = [
            connection.execute(f"select * from analytics.{name} where source = ?", [source]).df()
            for name in ("at_risk_predictions", "at_risk_scores")
        ]
    for table in tables:
        hidden = table["learner_key"].str.split(":").str[1]
        rest = [enrollment.replace(who, "") for enrollment, who in zip(table["enrollment_key"], hidden, strict=True)]
        table["enrollment"] = table["learner_key"].map(number) + " " + pd.Series(rest, index=table.index, dtype=str)
        assert table["enrollment"].notna().all(), "a learner whose id no landing file holds"
    columns = ["outcome", "enrollment", "probability"]
    return models, tables[0][[*columns, "split", "model", "week_number"]], tables[1][[*columns, "log_odds", "band"]]


if __name__ == "__main__":
    main()
