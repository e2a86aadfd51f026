"""Which columns a driver may use, by the seeds: open content as printed stands in the place of our own columns."""

import pandas as pd
import pyarrow as pa
import pytest

from dagster_project.settings import REPOSITORY
from dagster_project.stats.driver_effects.level import Columns, Driver, Level

SEEDS = REPOSITORY / "dbt" / "seeds"
OPEN_DRIVERS = {
    "open_completion",
    "stackable_enrolled",
    "stackable_completed",
    "open_paid_not_completed",
    "open_enrolled_not_completed",
}
PRINTED = {"has_open_enrollment_any", "has_open_paid_enrollment_any", "has_open_completion_any"}
OWN = {
    "has_open_completion",
    "has_open_paid_not_completed",
    "has_open_enrolled_not_completed",
    "has_stackable_enrollment",
    "has_stackable_completion",
}


@pytest.fixture(scope="module")
def drivers() -> dict[str, Driver]:
    catalogue, groups, eligibility = (
        pd.read_csv(SEEDS / f"driver_{name}.csv") for name in ("catalogue", "control_groups", "control_eligibility")
    )
    names = dict.fromkeys([*catalogue["mart_column"], *groups["mart_column"]])
    found: dict[str, Driver] = {}
    for level in ("learner_program", "learner_course"):
        made = Level(
            level,
            lambda: iter([pa.record_batch({name: [1.0] for name in names})]),
            catalogue,
            groups,
            eligibility,
            Columns(),
            seed=1,
            reason=None,
            minimum_group=10,
        )
        found |= {driver.id: driver for driver in made.drivers}
    return found


def test_a_driver_of_open_content_never_meets_the_columns_as_printed(drivers):
    for name in OPEN_DRIVERS:
        assert not PRINTED & {*drivers[name].controls, *drivers[name].sensitivity}


def test_for_the_other_drivers_they_are_for_sensitivity_and_ours_give_way(drivers):
    assert len(drivers) == 30
    for name in drivers.keys() - OPEN_DRIVERS:
        driver = drivers[name]
        assert set(driver.sensitivity) >= PRINTED
        assert set(driver.replaced) == OWN
        assert not PRINTED & set(driver.controls)
