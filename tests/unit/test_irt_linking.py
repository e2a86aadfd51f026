"""Linking recovers a planted transformation, drops anchors that moved, and refuses what cannot be linked."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response.calibration import calibrate
from dagster_project.stats.item_response.linking import link
from dagster_project.stats.item_response.scoring import score
from tests.item_simulation import simulate


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    return simulate(rng, rng.standard_normal(2500), 40, missing=0.3)


@pytest.fixture(scope="module")
def bank(data):
    return calibrate(*data.long)


def on_another_scale(bank, scale, shift):
    """The same bank with ability* = (ability - shift) / scale."""
    items = bank.items.copy()
    items["intercept"] = items["intercept"] + items["slope"] * shift
    items["slope"] = items["slope"] * scale
    return replace(bank, items=items, groups=bank.groups.assign(mean=-shift / scale, sd=1 / scale))


def test_a_planted_transformation_is_recovered(bank):
    result = link(on_another_scale(bank, 1.3, -0.4), bank)
    assert (result.scale, result.shift) == pytest.approx((1.3, -0.4), abs=1e-6)
    assert result.anchors["is_used"].all()
    np.testing.assert_allclose(result.bank.items[["slope", "intercept"]], bank.items[["slope", "intercept"]], atol=1e-6)
    assert result.bank.groups[["mean", "sd"]].to_numpy()[0] == pytest.approx([0.0, 1.0], abs=1e-6)


def test_anchors_that_moved_are_removed_and_named(bank):
    moved = on_another_scale(bank, 0.8, 0.3)
    moved.items.loc[[3, 17], "intercept"] -= 1.0
    rng = np.random.default_rng(0)
    moved.items["intercept"] += 0.03 * rng.standard_normal(40)
    result = link(moved, bank)
    dropped = result.anchors.query("~is_used")
    assert dropped["item"].tolist() == [3, 17]
    assert (dropped["difference"] < -0.1).all()
    assert (dropped["drift"] > 0.5).all()
    assert dropped["reason"].str.contains("not an anchor").all()
    assert result.scale == pytest.approx(0.8, abs=0.02)
    assert result.shift == pytest.approx(0.3, abs=0.03)
    assert 0 < result.shift_se < 0.02


def test_errors_follow_the_scale(data, bank):
    """Standard errors of a linked bank are those of a calibration on that scale."""
    group = (data.ability[data.person] * 0).astype(int)
    assert len(np.unique(group)) == 1
    there_and_back = link(link(bank, on_another_scale(bank, 1.3, -0.4)).bank, bank).bank
    pd.testing.assert_frame_equal(there_and_back.items, bank.items, rtol=1e-4)


def test_same_answers_rank_alike_on_both_banks(data, bank):
    half = data.person % 2 == 0
    other = link(calibrate(*(column[half] for column in data.long)), bank).bank
    one, two = (score(b, *data.long)["ability"] for b in (bank, other))
    assert one.corr(two, method="spearman") > 0.995
    assert abs((one - two).mean()) < 0.03


def test_graded_and_rasch_banks_link():
    rng = np.random.default_rng(3)
    graded = simulate(rng, rng.standard_normal(800), 25, steps=2)
    bank = calibrate(*graded.long, model="graded")
    assert link(bank, bank).scale == pytest.approx(1.0, abs=1e-6)
    plain = simulate(rng, rng.standard_normal(800), 25, slope=np.ones(25))
    rasch = calibrate(*plain.long, model="rasch")
    easier = replace(rasch, items=rasch.items.assign(intercept=rasch.items["intercept"] + 0.5))
    result = link(easier, rasch)
    assert result.scale == 1.0
    assert result.shift == pytest.approx(0.5, abs=1e-5)
    with pytest.raises(ValueError, match="a rasch bank cannot be linked to a graded bank"):
        link(rasch, bank)


def test_too_few_or_too_many_moved_anchors_are_refused(bank):
    few = replace(bank, items=bank.items.iloc[:12])
    with pytest.raises(ValueError, match="share 12 usable items; expected at least 20"):
        link(few, bank)
    broken = replace(bank, items=bank.items.copy())
    broken.items.loc[:15, "intercept"] -= 2.0
    with pytest.raises(ValueError, match="anchors moved between the calibrations"):
        link(broken, bank)
