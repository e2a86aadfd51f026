"""The first line of the model card says in plain words what a call list is worth."""

import pytest

from dagster_project.report.at_risk_model import say_what_calls_give

LEFT, GONE = "would have failed or left the course", "would not have come back a year later"


@pytest.mark.parametrize(
    ("outcome", "precision", "base", "said"),
    [
        ("failed_or_withdrawn", 0.5036, 0.078, f"Of 10 called, 5 {LEFT}; of 10 drawn at random, 1."),
        ("not_retained", 0.375, 0.252, f"Of 10 called, 4 {GONE}; of 10 drawn at random, 3."),
        # In tens, 4 and 4 would say that the list is worth nothing, and 4 and 3 that it is worth one in ten.
        ("not_retained", 0.44, 0.36, f"Of 100 called, 44 {GONE}; of 100 drawn at random, 36."),
        ("not_retained", 0.352, 0.348, f"Of 100 called, 35 {GONE}; of 100 drawn at random, 35."),
        ("failed_or_withdrawn", 0.03, 0.01, f"Of 100 called, 3 {LEFT}; of 100 drawn at random, 1."),
    ],
)
def test_of_ten_called_so_many_had_the_outcome(outcome, precision, base, said):
    assert say_what_calls_give(outcome, precision, base) == said
