"""Each driver of first-year retention as planted in the simulated university and as the warehouse found it.

    make demo, then: make planted

Reads the warehouse of the settings (LEARNING_WAREHOUSE_HOME) and the truth beside it, which no asset or model reads.
Percent by which retention changes, as the report counts; the naive figure is the driver alone, without controls. Of 30
true 95 % intervals one or two miss; what many universities show tells `make recovery`.
"""

import argparse
import json

import duckdb

from dagster_project.settings import Settings

SOURCE = "campus"
QUERY = """
    select effects.driver_id, effects.title, naive.percent, effects.percent, effects.percent_low, effects.percent_high,
        coalesce(effects.finding, effects.reason)
    from reporting.driver_effects as effects
    left join analytics.driver_specifications as naive
        on effects.source = naive.source and effects.driver_id = naive.driver_id and naive.specification = 'naive'
    where effects.source = $source and effects.program_key is null
    order by effects.position
"""


def table(connection: duckdb.DuckDBPyConnection, planted: dict[str, dict]) -> list[str]:
    """A line for each driver, and how many intervals hold the planted figure."""
    lines = [f"{'percent':<62}{'planted':>8}{'naive':>8}{'found':>8}   95 % interval    holds it  finding"]
    held, told = 0, 0
    for driver, title, naive, found, low, high, finding in connection.execute(QUERY, {"source": SOURCE}).fetchall():
        truth = planted[driver]["planted_percent"]
        if found is None:
            lines.append(f"{title[:60]:<62}{truth:>8.1f}   not estimated: {finding}")
            continue
        holds = low <= truth <= high
        held, told = held + holds, told + 1
        lines.append(
            f"{title[:60]:<62}{truth:>8.1f}{naive:>8.1f}{found:>8.1f}   {f'{low:.1f} to {high:.1f}':<17}"
            f"{'yes' if holds else 'NO':<10}{finding}"
        )
    return [*lines, f"{held} of {told} intervals hold the planted percent."]


def main() -> None:
    """Print the table of the demo's warehouse."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    settings = Settings()
    truth = settings.home / "truth" / f"{SOURCE}.json"
    if not truth.exists():
        raise SystemExit(f"No truth is at {truth}: this warehouse holds no demo. Make one first: make demo")
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        print("\n".join(table(connection, json.loads(truth.read_text())["drivers"])))


if __name__ == "__main__":
    main()
