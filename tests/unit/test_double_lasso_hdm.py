"""Agreement with R's hdm 0.3.2 on ten simulated data sets (reference/double_lasso_hdm.json, made once with R 4.2.2).

The data are not stored: `simulate` draws them from the parameters beside each reference result, and their hash says
whether numpy's random stream is still the one the reference was computed on.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dagster_project.stats.double_lasso.design import array_design
from dagster_project.stats.double_lasso.gram import moments, score_squares
from dagster_project.stats.double_lasso.one import double_lasso
from dagster_project.stats.double_lasso.rlasso import Rlasso, fit_all, penalty_level

CASES = json.loads((Path(__file__).parent / "reference" / "double_lasso_hdm.json").read_text())["designs"]


def grid(values: np.ndarray) -> np.ndarray:
    """Rounded to multiples of 2^-20, so that the last bits of a processor's arithmetic do not reach the data."""
    return np.rint(np.asarray(values, dtype=float) * 2.0**20) / 2.0**20


def simulate(design: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome (n,), driver (n,) and controls (n, p): normal columns, then dummies, then shares that add up to one.

    Only elementwise arithmetic, and draws in a fixed order: controls, positions of the active ones, errors of the
    driver, errors of the outcome.
    """
    rng = np.random.default_rng(design["seed"])
    n, normal, rho = design["n"], design["continuous"], design["rho"]
    columns: list[np.ndarray] = []
    for j in range(normal):
        noise = rng.standard_normal(n)
        columns.append(noise if j == 0 else rho * columns[-1] + np.sqrt(1 - rho * rho) * noise)
    for levels in design["categorical"]:
        weight = np.array([1 / (level + 1) for level in range(levels)])
        upper = np.cumsum(weight / weight.sum())[:-1]
        code = np.searchsorted(upper, rng.random(n), side="right")
        columns += [(code == level) * 1.0 for level in range(1 if design["drop_first"] else 0, levels)]
    if design["shares"]:
        raw = 0.05 + rng.random((n, design["shares"]))
        total = np.zeros(n)
        for part in raw.T:
            total = total + part
        columns += list((raw / total[:, None]).T)
    x = grid(np.column_stack(columns))

    order = np.argsort(rng.random(x.shape[1]), kind="stable")
    both, d_only, y_only = design["confounders"], design["d_only"], design["y_only"]

    def index(active: np.ndarray, size: float) -> np.ndarray:
        total = np.zeros(n)
        for position, j in enumerate(active):
            coefficient = size * (-1.0) ** position / (position + 1) ** design["decay"]
            total = total + (1.0 if j < normal else design["dummy_factor"]) * coefficient * x[:, j]
        return total

    def observed(star: np.ndarray, which: str) -> np.ndarray:
        if design[f"{which}_kind"] == "binary":
            return (star + design[f"{which}_shift"] > 0) * 1.0
        return grid(design[f"{which}_scale"] * star)

    spread = 1 + design["heteroskedasticity"] * np.abs(x[:, 0])
    d = observed(index(order[: both + d_only], design["size_d"]) + spread * rng.standard_normal(n), "d")
    in_y = np.concatenate([order[:both], order[both + d_only : both + d_only + y_only]])
    y_star = design["effect"] * d + index(in_y, design["size_y"]) + spread * rng.standard_normal(n)
    return observed(y_star, "y"), d, x


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case["name"])
def case(request):
    y, d, x = simulate(request.param["design"])
    digest = hashlib.sha256()
    for array in (y, d, x):
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    if digest.hexdigest() != request.param["sha256"]:
        pytest.fail("The simulated data differ from those of the reference: has numpy changed its random stream?")
    return y, d, x, request.param["reference"]


@pytest.mark.parametrize("method", ["double_selection", "partialling_out"])
def test_effect_error_and_selection_equal_hdm(case, method):
    y, d, x, reference = case
    fit = double_lasso(y, d, x, method=method)
    assert fit.selected.tolist() == reference["double_selection"]["selected"]
    assert abs(fit.effect - reference[method]["alpha"]) <= 1e-6 * reference[method]["se"]
    assert fit.std_error == pytest.approx(reference[method]["se"], rel=1e-8)


def test_each_lasso_takes_hdms_steps(case):
    """Same penalty, same number of fits, same support, same residual and same loadings after the last refit."""
    y, d, x, reference = case
    n, p = x.shape
    design = array_design(y, d, x, None, [])
    (sample,) = moments(design)
    lambda0 = penalty_level(n, p, c=1.1, gamma=None)
    assert lambda0 == pytest.approx(reference["lambda0"], rel=1e-12)
    lassos = [Rlasso(0, target, np.arange(p), None, lambda0, n) for target in (p + 1, p)]

    def mean_squares(requests):
        return score_squares(design, [sample], requests)

    fit_all(lassos, [sample.correlation], [sample.scale], mean_squares, post=True)
    for lasso, values, expected in zip(lassos, (y, d), (reference["lasso_y"], reference["lasso_d"]), strict=True):
        assert lasso.selected.tolist() == expected["selected"]
        # hdm counts one more, unless the last fit selected nothing
        assert lasso.iterations + (len(lasso.selected) > 0) == expected["iterations"]
        assert lasso.residual_sd * values.std(ddof=1) == pytest.approx(expected["residual_sd"], rel=1e-10)
        if len(lasso.selected):
            (squares,) = mean_squares([(0, None, lasso.residual_weights(sample.scale)[:, None])])
            np.testing.assert_allclose(np.sqrt(squares[:, 0]), expected["loadings"], rtol=1e-9)


def test_units_of_outcome_and_driver_do_not_matter(case):
    """hdm stops in units of the variable; here a driver in minutes gives what a driver in hours gives."""
    y, d, x, _ = case
    fit, scaled = double_lasso(y, d, x), double_lasso(5e-4 * y, 3e4 * d, x * 60)
    assert fit.selected.tolist() == scaled.selected.tolist()
    assert scaled.effect == pytest.approx(fit.effect * 5e-4 / 3e4, rel=1e-9)
    assert scaled.std_error == pytest.approx(fit.std_error * 5e-4 / 3e4, rel=1e-9)
