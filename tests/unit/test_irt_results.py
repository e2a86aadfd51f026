"""Results say what they hold: a summary to read, and confidence intervals as a frame."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response.abilities import Posterior
from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.linking import Link, link
from dagster_project.stats.item_response.organizations import OrganizationMeans

HALF = 1.959964


@pytest.fixture
def bank():
    """Difficulty of q: 1 / 2 = .5; variance (.2² + .5² · .1² + 2 · .5 · .01) / 2² = .0525 / 4, error .1146."""
    items = pd.DataFrame(
        {"item": ["q", "r"], "slope": [2.0, 1.0], "intercept": [-1.0, 0.5], "slope_se": [0.1, np.nan]}
        | {"intercept_se": [0.2, 0.3], "slope_intercept_cov": [0.01, np.nan], "n": [400, 100]}
    )
    groups = pd.DataFrame({"group": ["a", "b"], "mean": [0.0, 0.5], "sd": [1.0, 1.2]})
    groups = groups.assign(mean_se=[np.nan, 0.05], sd_se=[np.nan, 0.04], n=[150, 90])
    return ItemBank(items, groups, log_likelihood=-300.25, iterations=12, converged=True)


def test_intervals_of_a_bank_leave_out_what_was_fixed(bank):
    found = bank.conf_int()
    assert list(found) == ["subject", "label", "parameter", "estimate", "std_error", "low", "high"]
    assert found[["subject", "label", "parameter"]].values.tolist() == [
        ["item", "q", "slope"],
        ["item", "q", "intercept"],
        ["item", "r", "intercept"],
        ["item", "q", "difficulty"],
        ["group", "b", "mean"],
        ["group", "b", "sd"],
    ]
    difficulty = found.query("parameter == 'difficulty'").iloc[0]
    assert difficulty["std_error"] == pytest.approx(np.sqrt(0.0525) / 2)
    assert found["low"].iloc[0] == pytest.approx(2.0 - HALF * 0.1)
    assert found["high"].iloc[5] == pytest.approx(1.2 + HALF * 0.04)
    narrow = bank.conf_int(0.5)
    assert narrow["high"].iloc[0] == pytest.approx(2.0 + 0.67449 * 0.1)
    with pytest.raises(ValueError, match="level 95; expected a share between 0 and 1"):
        bank.conf_int(95)
    with pytest.raises(ValueError, match="no column slope_se"):
        replace(bank, items=bank.items[["item", "slope", "intercept"]]).conf_int()


def test_summary_of_a_bank(bank):
    assert bank.summary().splitlines() == [
        "2pl bank: 2 items, 500 answers of 240 persons",
        "log likelihood -300.2, converged after 12 passes",
        "slope: 1.00 to 2.00, median 1.50, median standard error 0.100",
        "intercept: -1.00 to 0.50, median -0.25, median standard error 0.250",
        "difficulty: -0.50 to 0.50, median 0.00, median standard error 0.115",
        "group a: mean 0.00, sd 1.00, 150 persons",
        "group b: mean 0.50 ± 0.05, sd 1.20 ± 0.04, 90 persons",
    ]
    plain = ItemBank(bank.items[["item", "slope", "intercept"]], bank.groups[["group", "mean", "sd"]])
    assert plain.summary().splitlines()[0] == "2pl bank: 2 items"


def test_intervals_and_summary_of_a_link(bank):
    anchors = pd.DataFrame({"item": ["q", "r"], "is_used": [True, False], "reason": [None, "moved by +0.120"]})
    result = Link(bank, scale=1.3, shift=-0.4, scale_se=0.02, shift_se=0.01, anchors=anchors)
    found = result.conf_int()
    assert found["parameter"].tolist() == ["scale", "shift"]
    assert found[["low", "high"]].values.tolist() == [
        pytest.approx([1.3 - HALF * 0.02, 1.3 + HALF * 0.02]),
        pytest.approx([-0.4 - HALF * 0.01, -0.4 + HALF * 0.01]),
    ]
    assert result.summary().splitlines() == [
        "reference ability = 1.300 × ability -0.400 (standard errors 0.020 and 0.010), 1 of 2 anchors",
        "item r moved by +0.120",
    ]


def test_a_link_takes_as_few_anchors_as_it_is_told():
    """Five questions whose curves are those of the reference at ability* = (ability + .4) / 1.3."""
    slope, intercept = np.array([0.8, 1.0, 1.2, 1.4, 1.6]), np.array([1.0, 0.5, 0.0, -0.5, -1.0])
    errors = {"slope_se": 0.1, "intercept_se": 0.1, "slope_intercept_cov": 0.0}
    groups = pd.DataFrame({"group": ["all"], "mean": [0.0], "sd": [1.0]})
    old = ItemBank(pd.DataFrame({"item": range(5), "slope": slope, "intercept": intercept} | errors), groups)
    new = replace(old, items=old.items.assign(slope=1.3 * slope, intercept=intercept - 0.4 * slope))
    with pytest.raises(ValueError, match="share 5 usable items; expected at least 20"):
        link(new, old)
    result = link(new, old, fewest_anchors=5)
    assert (result.scale, result.shift) == pytest.approx((1.3, -0.4), abs=1e-5)
    with pytest.raises(ValueError, match="share 5 usable items; expected at least 6"):
        link(new, old, fewest_anchors=6)
    with pytest.raises(ValueError, match="fewest_anchors=1; expected 2 or more"):
        link(new, old, fewest_anchors=1)


def test_intervals_and_summary_of_organizations():
    frame = pd.DataFrame({"organization": ["x", "y"], "n": [20, 30], "mean": [-0.2, 0.4], "std_error": [0.1, 0.2]})
    nobody = Posterior(np.array([]), np.zeros(1), np.empty((0, 1), np.float32))
    means = OrganizationMeans(frame, np.zeros(3), 0.9, nobody, np.array([], int), 14, converged=True)
    found = means.conf_int()
    assert list(found) == ["organization", "n", "estimate", "std_error", "low", "high"]
    assert found["low"].tolist() == pytest.approx([-0.2 - HALF * 0.1, 0.4 - HALF * 0.2])
    assert means.summary().splitlines() == [
        "2 organizations with 50 members",
        "means -0.20 to 0.40, median 0.10, median standard error 0.150",
        "sd of ability within organizations 0.90, 3 covariates",
        "converged after 14 iterations",
    ]
