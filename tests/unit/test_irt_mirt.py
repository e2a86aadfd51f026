"""Agreement with R's mirt 1.45.1 on six simulated data sets (reference/irt_mirt.json, made once with R 4.2.2).

The answers are not stored: `simulate` draws them from the parameters beside each reference result, and their hash says
whether numpy's random stream is still the one the reference was computed on.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dagster_project.stats.item_response.calibration import calibrate
from dagster_project.stats.item_response.scoring import score

CASES = json.loads((Path(__file__).parent / "reference" / "irt_mirt.json").read_text())["designs"]
MODEL = {"graded": "graded", "rasch": "rasch"}


def grid(values) -> np.ndarray:
    """Rounded to multiples of 2^-20, so that the last bits of a processor's arithmetic do not reach the data."""
    return np.rint(np.asarray(values, dtype=float) * 2.0**20) / 2.0**20


def simulate(design: dict) -> tuple[np.ndarray, ...]:
    """Person, item, response (long, sorted) and, with two groups, the group of each person.

    Draws in a fixed order: slopes, difficulties, steps, groups, abilities, who answers what, answers.
    """
    rng = np.random.default_rng(design["seed"])
    persons, items, steps = design["persons"], design["items"], design["categories"] - 1
    low, high = design["slope_range"]
    slope = grid(low + (high - low) * rng.random(items))
    if design["model"] == "rasch":
        slope = np.ones(items)
    difficulty = grid(design["difficulty_mean"] + design["difficulty_sd"] * rng.standard_normal(items))
    offset = np.zeros((items, steps))
    if steps > 1:
        gaps = 0.5 + 0.8 * rng.random((items, steps - 1))
        for k in range(1, steps):
            offset[:, k] = offset[:, k - 1] + gaps[:, k - 1]
        offset = offset - offset[:, [steps // 2]]
    intercept = -slope[:, None] * grid(difficulty[:, None] + offset)

    mean, sd = np.array(design["group_mean"]), np.array(design["group_sd"])
    group = np.zeros(persons, dtype=np.int64)
    if len(mean) > 1:
        group = (rng.random(persons) >= design["group_share"]).astype(np.int64)
    ability = grid(mean[group] + sd[group] * rng.standard_normal(persons))

    answered = np.ones((persons, items), dtype=bool)
    if len(mean) > 1:
        bridges = rng.random(persons) < design["bridging"]
        position = np.arange(items)
        first, second = position < design["only_first"], position >= items - design["only_second"]
        answered = np.where(group[:, None] == 0, ~second, ~first) | bridges[:, None]
    answered = answered & (rng.random((persons, items)) >= design["missing"])

    uniform = rng.random((persons, items))
    response = np.zeros((persons, items), dtype=np.int64)
    for k in range(steps):
        response += uniform * (1.0 + np.exp(-(slope * ability[:, None] + intercept[:, k]))) < 1.0
    person, item = np.nonzero(answered)
    long = person, item, response[person, item]
    return (*long, group) if len(mean) > 1 else long


def sha256(arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def numbers(values) -> np.ndarray:
    """Nested lists with null for what mirt held fixed."""
    return np.array(values, dtype=object).astype(float)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case["name"])
def fitted(request):
    case = request.param
    arrays = simulate(case["design"])
    if sha256(arrays) != case["sha256"]:
        pytest.skip(f"numpy {np.__version__} draws other random numbers than the reference was computed on")
    person, item, response = arrays[:3]
    group = arrays[3][person] if len(arrays) == 4 else None
    bank = calibrate(person, item, response, model=MODEL.get(case["kind"], "2pl"), group=group, nodes=61)
    return case["reference"], bank, score(bank, person, item, response, group=group)


def intercepts(bank, suffix=""):
    names = [name for name in bank.items if name.startswith("intercept") and not name.endswith("_se")]
    return bank.items[[name + suffix for name in names]].to_numpy()


def test_log_likelihood_within_1e_7(fitted):
    reference, bank, _ = fitted
    assert bank.converged
    assert bank.log_likelihood == pytest.approx(reference["loglik"], rel=1e-7)


def test_parameters_within_1e_3(fitted):
    reference, bank, _ = fitted
    np.testing.assert_allclose(bank.items["slope"], reference["a"], atol=1e-3)
    np.testing.assert_allclose(intercepts(bank), reference["d"], atol=1e-3)
    np.testing.assert_allclose(bank.groups["mean"], reference["group_mean"], atol=1e-3)
    np.testing.assert_allclose(bank.groups["sd"], np.sqrt(reference["group_var"]), atol=1e-3)


def test_abilities_and_their_errors_within_1e_3(fitted):
    reference, _, scores = fitted
    np.testing.assert_allclose(scores["ability"][:20], reference["eap"], atol=1e-3)
    np.testing.assert_allclose(scores["std_error"][:20], reference["posterior_sd"], atol=1e-3)


def test_standard_errors_within_one_percent(fitted):
    """Two percent were asked for; a variance's error is twice its sd's error times the sd."""
    reference, bank, _ = fitted
    np.testing.assert_allclose(bank.items["slope_se"], numbers(reference["a_se"]), rtol=0.01)
    np.testing.assert_allclose(intercepts(bank, "_se"), numbers(reference["d_se"]), rtol=0.01)
    np.testing.assert_allclose(bank.groups["mean_se"], numbers(reference["group_mean_se"]), rtol=0.01)
    sd = bank.groups["sd"].to_numpy()
    np.testing.assert_allclose(2 * sd * bank.groups["sd_se"], numbers(reference["group_var_se"]), rtol=0.01)
