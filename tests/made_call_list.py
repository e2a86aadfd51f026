"""Rows of `learners.call_list`, written by hand."""

from datetime import date, datetime

import pandas as pd

DAYS = ("as_of_on", "listed_since_on", "last_contacted_on", "scored_on", "scored_at")


def listed(learner: str = "ann", course: str | None = "c1", program: str | None = "p1", **found) -> dict:
    """A learner of the source uni to be called, without reasons or a contact; `found` replaces what is said."""
    row = {
        "source": "uni",
        "outcome": "failed_or_withdrawn" if course else "not_retained",
        "call_order": 1,
        "enrollment_key": f"uni:{learner}:{course or program}",
        "learner_key": f"uni:{learner}",
        "program_key": program and f"uni:{program}",
        "course_key": course and f"uni:{course}",
        "program_name": program and f"Program {program}",
        "course_name": course and f"Course {course}",
        "week_number": 4,
        "as_of_on": date(2026, 3, 2),
        "band": "high",
        "probability": 0.8,
        "probability_low": 0.7,
        "probability_high": 0.9,
        "probability_change": None,
        "listed_since_on": date(2026, 2, 23),
        "is_newly_at_risk": False,
        "is_newly_silent": False,
        "last_contacted_on": None,
        "last_contact_channel": None,
        "last_contact_topic": None,
        "is_contacted_recently": False,
    }
    for place in (1, 2, 3):
        row |= {f"reason_{place}": None, f"measure_{place}": None}
        row |= {f"learner_value_{place}": None, f"peers_median_{place}": None}
    row |= {"suggested_action": None, "suggested_words": None, "model_version": "v1"}
    row |= {"scored_on": date(2026, 3, 2), "scored_at": datetime(2026, 3, 2, 3)}
    assert found.keys() <= row.keys(), found.keys() - row.keys()
    return row | found


def reason(place: int, title: str, measure: str, value: float | None, peers: float) -> dict:
    """Columns of one of the three reasons."""
    return {
        f"reason_{place}": title,
        f"measure_{place}": measure,
        f"learner_value_{place}": value,
        f"peers_median_{place}": peers,
    }


def frame(*rows: dict) -> pd.DataFrame:
    """The rows as the warehouse gives them."""
    made = pd.DataFrame(list(rows), columns=list(listed()))
    for column in DAYS:
        made[column] = pd.to_datetime(made[column])
    for column in (x for x in made if x.startswith(("learner_value", "peers_median", "probability"))):
        made[column] = made[column].astype(float)
    return made


def write(connection, *rows: dict) -> None:
    """Make the table, and that of the changes without a row, in a build database."""
    made = frame(*rows)
    types = {
        column: "timestamp"
        if column == "scored_at"
        else "date"
        if column in DAYS
        else "boolean"
        if column.startswith("is_")
        else "integer"
        if column in ("call_order", "week_number")
        else "double"
        if made[column].dtype == float
        else "varchar"
        for column in made
    }
    connection.execute("create schema if not exists learners")
    connection.register("made", made)
    columns = ", ".join(f"cast({column} as {kind}) as {column}" for column, kind in types.items())
    connection.execute(f"create or replace table learners.call_list as select {columns} from made")
    connection.execute(
        "create or replace table learners.call_list_changes as select source, outcome, '' as change, enrollment_key, "
        "learner_key, program_key, course_key, program_name, course_name, band, band as earlier_band, scored_on, "
        "scored_on as earlier_scored_on from learners.call_list where false"
    )
