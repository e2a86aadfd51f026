"""Each printed quartile pair of the retention report beside that of a simulated university, from the built marts.

    make demo, then: python -m benchmarks.campus_marginals [--source campus]

Reads the warehouse of the settings (LEARNING_WAREHOUSE_HOME). Figures 5 to 11, over the rows of each driver's sample
(marts.driver_catalogue): figure 5 among courses that use the type, figure 10 among enrollments not dropped. A quartile
is met within 15 % of the printed interquartile range, or within 1 day; exit code 1 when one is not. A university much
smaller than the report's 17,960 learners misses some by chance.
"""

import argparse
import sys
from dataclasses import dataclass

import duckdb

from dagster_project.base.sql import identifier
from dagster_project.settings import Settings

TOLERATED_SHARE = 0.15
SAMPLES = {
    "all": "true",
    "share > 0": "{column} > 0",
    "not dropped": "not is_dropped",
    "has a first deadline": "first_due_day is not null",
}
PEOPLE = {
    "learners with a known first year": "count(*)",
    "programs": "count(distinct program_key)",
    "countries": "count(distinct country)",
    "median age, years": "median(age_years)",
    "share employed": "avg((employment_status in ('full_time', 'part_time', 'self_employed'))::integer)",
    "share retained": "avg(is_retained::integer)",
    "courses enrolled in the first term, mean": "avg(courses_enrolled_count)",
}


@dataclass(frozen=True)
class Pair:
    """A driver's quartiles as printed and as found, in the mart's unit."""

    figure: int
    label: str
    column: str
    printed: tuple[float, float]
    found: tuple[float, float]

    @property
    def tolerance(self) -> float:
        """Distance within which a quartile counts as met."""
        share = TOLERATED_SHARE * (self.printed[1] - self.printed[0])
        return max(share, 1.0) if self.column.endswith("days_active") else share

    @property
    def is_met(self) -> bool:
        """Whether both quartiles are."""
        return all(abs(a - b) <= self.tolerance for a, b in zip(self.printed, self.found, strict=True))


def pairs(connection: duckdb.DuckDBPyConnection, source: str) -> list[Pair]:
    """The printed contrasts that are quartiles, in the order of the report.

    Raises:
        ValueError: the source has no row of the retention analysis.
    """
    drivers = connection.execute(
        "select figure, label, mart_column, sample, printed_low, printed_high from marts.driver_catalogue "
        "where contrast_rule = 'printed' order by position"
    ).fetchall()
    result = []
    for figure, label, column, sample, low, high in drivers:
        where = SAMPLES[sample].format(column=identifier(column))
        (found,) = connection.execute(
            f"select quantile_cont({identifier(column)}, [0.25, 0.75]) "
            f"from marts.mart_retention_learner_course where source = $source and {where}",
            {"source": source},
        ).fetchone()
        if found is None:
            raise ValueError(
                f"no row of marts.mart_retention_learner_course has {column} for the source '{source}': build a "
                "simulated university first (make demo)"
            )
        result.append(Pair(figure, label, column, (low, high), tuple(found)))
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="campus")
    source = parser.parse_args().source
    with duckdb.connect(str(Settings().build_database), read_only=True) as connection:
        found = pairs(connection, source)
        people = connection.execute(
            f"select {', '.join(PEOPLE.values())} from marts.mart_learner_program "
            "where source = $source and is_retained is not null",
            {"source": source},
        ).fetchone()
    print(f"{'figure':>6}  {'driver':<42} {'printed':>18} {'simulated':>20}  met")
    for pair in found:
        printed, simulated = (f"{low:.4g} → {high:.4g}" for low, high in (pair.printed, pair.found))
        print(f"{pair.figure:>6}  {pair.label:<42} {printed:>18} {simulated:>20}  {'yes' if pair.is_met else 'NO'}")
    print()
    for what, value in zip(PEOPLE, people, strict=True):
        print(f"{what:<42} {value:>10,.4g}" if isinstance(value, float) else f"{what:<42} {value:>10,}")
    return 0 if all(pair.is_met for pair in found) else 1


if __name__ == "__main__":
    sys.exit(main())
