"""What goes with passing and with coming back, on the real data of the Open University, and what a sceptic would say.

    python -m benchmarks.oulad_drivers

Reads the marts of a warehouse that holds OULAD (`make run SOURCE=oulad LANDING=…`; LEARNING_WAREHOUSE_HOME says where).
Double selection of `dagster_project.stats.double_lasso`: passing on learner × presentation, the 22 presentations held
fixed, errors clustered by learner and presentation; registering again a year later on learners who began in 2013, the
first term held fixed. Drivers are known at the end of week 4, and only learners still enrolled then are counted. Each
line: percentage points from the driver's first to its third quartile (0 to 1 for yes and no), 95 % interval, the naive
difference without any control, and the robustness value of Cinelli and Hazlett.
"""

import argparse
import sys

import numpy as np
import pandas as pd

from dagster_project.settings import Settings
from dagster_project.stats.double_lasso.many import double_lasso_many
from dagster_project.store.warehouse import Warehouse

WEEK = 4
STUDENT = [
    "gender", "age_band", "region", "education_level", "deprivation_band", "has_disability",
    "registration_lead_days", "previous_attempt_count", "earlier_passed_course_count", "earlier_failed_course_count",
]  # fmt: skip
# Load is settled before the term, the days before the clicks that they bring, both before the deadline they serve.
ELIGIBLE = {
    "studied_credits": STUDENT,
    "active_days": [*STUDENT, "studied_credits"],
    "click_count": [*STUDENT, "studied_credits", "active_days"],
    "is_first_item_on_time": [*STUDENT, "studied_credits", "active_days", "click_count"],
}
WORDS = {
    "studied_credits": "load: credits studied at the time",
    "active_days": f"days active until week {WEEK}",
    "click_count": f"clicks until week {WEEK}",
    "is_first_item_on_time": "first assignment handed in on time",
}
QUERY = f"""
select
    weeks.learner_key, weeks.course_offering_key, weeks.term_key, {", ".join(f"weeks.{name}" for name in STUDENT)},
    weeks.studied_credits, weeks.active_days, weeks.click_count, weeks.due_item_count,
    case when first_due.first_due_day < 7 * {WEEK} then courses.is_first_item_on_time end as is_first_item_on_time,
    courses.is_passed, programs.is_reregistered_next_year, programs.first_term_key = weeks.term_key as is_first_term
from marts.mart_learner_course_week as weeks
inner join marts.mart_learner_course as courses using (course_enrollment_key)
inner join marts.mart_course_term as first_due on weeks.course_offering_key = first_due.course_offering_key
inner join marts.mart_learner_program as programs on weeks.learner_key = programs.learner_key
where weeks.source = ? and weeks.week_number = {WEEK} and weeks.is_enrolled
order by weeks.learner_key, weeks.course_offering_key
"""
SCEPTIC = """
What a sceptic would say
  Activity and hand-ins are symptoms as much as causes: who already means to leave stops clicking first. The controls
  hold origin, education and history, not intention; that figures move from naive to held shows how much even these
  few take away. A robustness value of r means: something unseen that explains the share r of what is left of both
  driver and outcome would undo the effect.
  Only learners enrolled at week 4 are counted, so early leavers, for whom the first weeks mattered most, are not in.
  Registering again is seen within seven modules only and is no degree's retention; who finished with one module looks
  like a leaver. 22 presentations are few clusters: the intervals use t with their number and are still optimistic.
"""


def estimate(rows: pd.DataFrame, outcome: str, absorb: str, cluster: tuple[str, ...] | None) -> pd.DataFrame:
    """One line a driver: points over the driver's contrast with interval, naive difference and robustness value."""
    rows = rows[rows[outcome].notna()].reset_index(drop=True)
    rows = rows.assign(**{f"has_{driver}": rows[driver].notna() for driver in ELIGIBLE})
    rows = rows.astype({outcome: float} | dict.fromkeys(ELIGIBLE, float))
    table = double_lasso_many(
        rows,
        outcome=outcome,
        drivers=list(ELIGIBLE),
        controls=[*STUDENT, *ELIGIBLE],
        absorb=absorb,
        cluster=cluster,
        eligible=ELIGIBLE,
        sample={driver: f"has_{driver}" for driver in ELIGIBLE},
    ).set_index("driver")
    lines = []
    for driver in ELIGIBLE:
        value = rows.loc[rows[f"has_{driver}"], driver]
        low, high = (0.0, 1.0) if driver.startswith("is_") else np.quantile(value, [0.25, 0.75])
        points = 100 * (high - low)
        naive = np.polyfit(value, rows.loc[value.index, outcome], 1)[0]
        fit = table.loc[driver]
        lines.append(
            {
                "driver": WORDS[driver],
                "from": low,
                "to": high,
                "naive": points * naive,
                "points": points * fit["effect"],
                "low": points * fit["conf_low"],
                "high": points * fit["conf_high"],
                "robustness": fit["robustness_value"],
                "n": int(fit["n"]),
            }
        )
    return pd.DataFrame(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="oulad")
    arguments = parser.parse_args()
    store = Warehouse(Settings())
    query = QUERY.replace("?", "'" + arguments.source.replace("'", "''") + "'")
    rows = pd.concat([batch.to_pandas() for batch in store.batches(query)], ignore_index=True)
    passing = estimate(rows, "is_passed", "course_offering_key", ("learner_key", "course_offering_key"))
    # A learner with two first courses counts once: the course in which more was done.
    starters = rows[rows["is_first_term"]].sort_values(["learner_key", "click_count"]).groupby("learner_key").tail(1)
    returning = estimate(starters, "is_reregistered_next_year", "course_offering_key", None)
    for title, table in (("Passing", passing), ("Registering again a year later", returning)):
        print(f"\n{title}: percentage points, third against first quartile")
        print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    print(SCEPTIC)
    return 0


if __name__ == "__main__":
    sys.exit(main())
