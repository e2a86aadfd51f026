"""Absorbed effects and clusters, which hdm does not know: against pyfixest, brute force, and each other."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.double_lasso import design as design_module
from dagster_project.stats.double_lasso import estimate as estimate_module
from dagster_project.stats.double_lasso.design import array_design
from dagster_project.stats.double_lasso.gram import moments, score_squares
from dagster_project.stats.double_lasso.many import double_lasso_many
from dagster_project.stats.double_lasso.one import double_lasso

PROGRAMS, COURSES, CONTROLS = 7, 6, 12


def uniform(seed: int, n: int) -> np.ndarray:
    """Numbers in [-.5, .5) that need no random stream, so that frozen results outlive numpy's."""
    wave = np.sin((np.arange(n) + 1) * (12.9898 + 78.233 * seed)) * 437.585453
    return np.rint((wave - np.floor(wave) - 0.5) * 2.0**20) / 2.0**20


def panel() -> pd.DataFrame:
    """Learner x course rows: 600 learners with three courses each, outcomes with learner, course and program parts."""
    learner = np.repeat(np.arange(600), 3)
    n = len(learner)
    program = (np.floor((uniform(1, 600) + 0.5) ** 1.5 * PROGRAMS).astype(int))[learner]
    course = program * COURSES + np.floor((uniform(2, n) + 0.5) * COURSES).astype(int)
    frame = pd.DataFrame({"learner": learner, "program": program, "course": course})
    for j in range(CONTROLS):
        frame[f"x{j}"] = uniform(10 + j, n) + 0.5 * uniform(30 + j, PROGRAMS)[program]
    frame["x5"] = uniform(50, PROGRAMS * COURSES)[course]
    frame["d"] = frame["x0"] - frame["x1"] + uniform(60, n) + uniform(61, 600)[learner] + frame["x5"]
    frame["design"] = uniform(62, PROGRAMS * COURSES)[course] + 0.3 * uniform(63, PROGRAMS)[program]
    noise = uniform(64, n) + uniform(65, 600)[learner] + 0.5 * uniform(66, PROGRAMS * COURSES)[course]
    frame["y"] = 0.2 * frame["d"] + frame["x0"] + frame["x2"] + frame["program"] / 5 + noise
    return frame


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return panel()


def arrays(data: pd.DataFrame, driver: str = "d"):
    controls = data[[f"x{j}" for j in range(CONTROLS)]].to_numpy()
    return data["y"].to_numpy(), data[driver].to_numpy(), controls


CLUSTERS = {"course": ["course"], "learner": ["learner"], "both": ["learner", "course"], "program": ["program"]}
# effect, standard error of pyfixest 0.60.0: feols("y ~ d + <selected> [| program]", vcov={"CRV1": "<clusters>"})
PYFIXEST = {
    (None, "course"): (0.21986196320913048, 0.027917603404326957),
    (None, "learner"): (0.21986196320913048, 0.04151002131386786),
    (None, "both"): (0.21986196320913048, 0.03521043702072642),
    (None, "program"): (0.21788218236300375, 0.017337991242360073),
    ("program", "course"): (0.20767618925365397, 0.023202447088331003),
    ("program", "learner"): (0.20767618925365397, 0.02880107133338369),
    ("program", "both"): (0.20767618925365397, 0.02688578487329289),
    ("program", "program"): (0.20767618925365397, 0.01914358876255253),
}


@pytest.mark.parametrize(("absorb", "clusters"), list(PYFIXEST))
def test_final_regression_equals_pyfixest(data, absorb, clusters):
    effect, std_error = PYFIXEST[absorb, clusters]
    fit = double_lasso(
        *arrays(data), absorb=None if absorb is None else data[absorb], clusters=data[CLUSTERS[clusters]].to_numpy()
    )
    kind = "two-way" if clusters == "both" else "cluster"
    assert fit.effect == pytest.approx(effect, rel=1e-8)
    assert fit.std_errors[kind] == pytest.approx(std_error, rel=1e-8)


@pytest.mark.parametrize(("absorb", "clusters"), list(itertools.product([None, "program"], CLUSTERS)))
def test_frozen_results_are_pyfixests(data, absorb, clusters):
    pyfixest = pytest.importorskip("pyfixest")
    fit = double_lasso(
        *arrays(data), absorb=None if absorb is None else data[absorb], clusters=data[CLUSTERS[clusters]].to_numpy()
    )
    formula = f"y ~ d + {' + '.join(f'x{j}' for j in fit.selected)}" + ("" if absorb is None else f" | {absorb}")
    model = pyfixest.feols(formula, data, vcov={"CRV1": " + ".join(CLUSTERS[clusters])})
    assert PYFIXEST[absorb, clusters] == pytest.approx((model.coef()["d"], model.se()["d"]), rel=1e-9)
    if len(CLUSTERS[clusters]) == 1:
        plain = pyfixest.feols(
            formula, data, vcov={"CRV3": CLUSTERS[clusters][0]}, ssc=pyfixest.ssc(k_adj=False, G_adj=False)
        )
        count = fit.n_clusters
        assert fit.std_errors["jackknife"] == pytest.approx(plain.se()["d"] * np.sqrt((count - 1) / count), rel=1e-8)


def test_absorbing_equals_demeaned_columns(data):
    """Same selection and effect as on columns with the program means taken out; the errors differ by the degrees of
    freedom that the programs cost."""
    y, d, x = arrays(data)
    fit = double_lasso(y, d, x, absorb=data["program"])

    def demeaned(values):
        frame = pd.DataFrame(values)
        return (frame - frame.groupby(data["program"].to_numpy()).transform("mean")).to_numpy()

    other = double_lasso(demeaned(y)[:, 0], demeaned(d)[:, 0], demeaned(x))
    assert fit.selected.tolist() == other.selected.tolist()
    assert fit.effect == pytest.approx(other.effect, rel=1e-10)
    n, s = len(y), len(fit.selected)
    cost = np.sqrt((n - s - 1) / (n - s - data["program"].nunique()))
    assert fit.std_error == pytest.approx(other.std_error * cost, rel=1e-10)
    # and it is not what a lasso without the programs gives
    assert double_lasso(y, d, x).effect != pytest.approx(fit.effect, rel=1e-3)


@pytest.mark.parametrize("few_clusters", [1000, 20], ids=["array over clusters", "cluster by cluster"])
@pytest.mark.parametrize("cluster", ["course", "learner", "program"])
def test_cluster_loadings_equal_a_loop(data, monkeypatch, cluster, few_clusters):
    monkeypatch.setattr(design_module, "FEW_CLUSTERS", few_clusters)
    y, d, x = arrays(data)
    made = array_design(y, d, x, data["program"].to_numpy(), [data[cluster].to_numpy()])
    (sample,) = moments(made)
    weights = np.zeros((CONTROLS + 2, 2))
    weights[[CONTROLS + 1, 0, 2], 0] = 1, -0.9, -0.8
    weights[[CONTROLS, 1], 1] = 1, 0.7
    (found,) = score_squares(made, [sample], [(0, 0, weights)])

    z = pd.DataFrame(np.column_stack([x, d, y]))
    z = (z - z.groupby(data["program"].to_numpy()).transform("mean")).to_numpy()
    residuals = z @ weights
    expected = np.zeros((CONTROLS, 2))
    for label in data[cluster].unique():
        rows = (data[cluster] == label).to_numpy()
        expected += (z[rows, :CONTROLS].T @ residuals[rows]) ** 2
    np.testing.assert_allclose(found, expected / len(y), rtol=1e-10)


def test_clustering_changes_what_is_selected_through_the_loadings():
    """A control that is the same for a whole cluster has a larger loading, so chance correlation does not select it."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(60), 40)
    x = rng.standard_normal((60, 40))[cluster]
    y = rng.standard_normal(60)[cluster] + rng.standard_normal(2400)
    d = rng.standard_normal(2400)
    assert len(double_lasso(y, d, x).selected) > 5
    assert len(double_lasso(y, d, x, clusters=cluster).selected) == 0


def refit_without(data, driver, selected, cluster, label, absorb):
    kept = data[data[cluster] != label]
    columns = [kept[driver], *(kept[f"x{j}"] for j in selected)]
    groups = pd.get_dummies(kept["program"]).to_numpy(dtype=float) if absorb else np.ones((len(kept), 1))
    return np.linalg.lstsq(np.column_stack([*columns, groups]), kept["y"], rcond=None)[0][0]


@pytest.mark.parametrize("absorb", [False, True])
@pytest.mark.parametrize(("driver", "cluster"), [("design", "course"), ("d", "course"), ("d", "program")])
def test_jackknife_equals_refitting_without_each_cluster(data, driver, cluster, absorb):
    fit = double_lasso(
        *arrays(data, driver), absorb=data["program"] if absorb else None, clusters=data[cluster].to_numpy()
    )
    slopes = np.array([refit_without(data, driver, fit.selected, cluster, c, absorb) for c in data[cluster].unique()])
    count = len(slopes)
    assert fit.n_clusters == count
    assert fit.std_error_kind == "jackknife"
    assert fit.std_error == pytest.approx(np.sqrt((count - 1) / count * np.sum((slopes - fit.effect) ** 2)), rel=1e-9)


@pytest.mark.parametrize(
    ("absorb", "clusters", "degrees"),
    [
        (None, "course", PROGRAMS * COURSES - 1),
        ("program", "course", PROGRAMS * COURSES - PROGRAMS),
        ("program", "program", PROGRAMS - 1),
        ("program", "both", PROGRAMS * COURSES - PROGRAMS),
        ("course", "learner", 600 - 1),
    ],
)
def test_absorbed_groups_cost_degrees_of_freedom_where_clusters_lie_inside_them(data, absorb, clusters, degrees):
    fit = double_lasso(
        *arrays(data), absorb=None if absorb is None else data[absorb], clusters=data[CLUSTERS[clusters]].to_numpy()
    )
    assert fit.degrees_of_freedom == degrees


def test_two_way_error_is_never_below_the_larger_one_way_error():
    """Subtracting the intersection can leave less than either clustering alone, even a negative variance."""
    rng = np.random.default_rng(5)
    below = 0
    for _ in range(40):
        first, second = rng.integers(0, 12, 240), rng.integers(0, 12, 240)
        d = rng.standard_normal(240)
        fit = double_lasso(
            rng.standard_normal(240),
            d,
            d[:, None] * 0.0 + rng.standard_normal((240, 2)),
            clusters=np.column_stack([first, second]),
        )
        larger = fit.std_errors["one-way"]
        assert fit.std_error >= larger * (1 - 1e-12)
        if fit.std_error_kind == "one-way":
            below += 1
            assert fit.std_error == larger
            assert not fit.std_errors["two-way"] >= larger
    assert 0 < below < 40


@pytest.mark.parametrize("clusters", ["learner", "both"])
def test_many_clusters_streamed_give_the_same_as_an_array_over_them(data, monkeypatch, clusters):
    shuffled = data.sample(frac=1, random_state=1)
    few = double_lasso(*arrays(shuffled), absorb=shuffled["program"], clusters=shuffled[CLUSTERS[clusters]].to_numpy())
    monkeypatch.setattr(design_module, "FEW_CLUSTERS", 100)
    monkeypatch.setattr(design_module, "JACKKNIFE_CLUSTERS", 100)
    monkeypatch.setattr(estimate_module, "JACKKNIFE_CLUSTERS", 100)
    monkeypatch.setattr(design_module, "BLOCK_ROWS", 64)
    many = double_lasso(*arrays(shuffled), absorb=shuffled["program"], clusters=shuffled[CLUSTERS[clusters]].to_numpy())
    assert many.selected.tolist() == few.selected.tolist()
    assert many.effect == pytest.approx(few.effect, rel=1e-10)
    assert many.degrees_of_freedom == few.degrees_of_freedom
    assert "jackknife" not in many.std_errors
    for kind, value in many.std_errors.items():
        assert value == pytest.approx(few.std_errors[kind], rel=1e-10)


def test_the_kind_of_error_is_a_choice_of_its_own(data):
    """The sandwich where it is asked for; the lassos' loadings do not follow the errors."""
    fit = double_lasso(*arrays(data), absorb=data["program"], clusters=data["course"])
    plain = double_lasso(*arrays(data), absorb=data["program"], clusters=data["course"], std_error="cluster")
    assert (fit.std_error_kind, plain.std_error_kind) == ("jackknife", "cluster")
    assert plain.std_error == plain.std_errors["cluster"] == fit.std_errors["cluster"]
    assert plain.effect == fit.effect
    published = double_lasso(
        *arrays(data), absorb=data["program"], clusters=data["course"], loadings="heteroskedastic", std_error="cluster"
    )
    alone = double_lasso(*arrays(data), absorb=data["program"])
    assert published.selected.tolist() == alone.selected.tolist()
    assert published.effect == alone.effect
    assert published.std_error == published.std_errors["cluster"] != alone.std_error


def test_a_fit_has_a_summary_to_read(data):
    fit = double_lasso(*arrays(data), absorb=data["program"], clusters=data["course"])
    summary = fit.summary(0.9)
    assert "1,800 rows, 42 clusters" in summary
    assert "jackknife *" in summary
    low, high = fit.conf_int(0.9)
    assert f"{low:.6g} to {high:.6g}" in " ".join(summary.split())
    assert "t with 35 degrees" in summary


def brute_force_wild_p(data, driver, selected, cluster):
    """All sign vectors, each with a full regression on program dummies."""
    labels = data[cluster].unique()
    groups = pd.get_dummies(data["program"]).to_numpy(dtype=float)
    x = np.column_stack([data[driver], data[[f"x{j}" for j in selected]], groups])
    y = data["y"].to_numpy()
    member = (data[cluster].to_numpy()[:, None] == labels).astype(float)
    inverse = np.linalg.pinv(x.T @ x)
    v = data[driver].to_numpy() - x[:, 1:] @ np.linalg.lstsq(x[:, 1:], data[driver], rcond=None)[0]

    def t_square(outcome):
        beta = inverse @ (x.T @ outcome)
        scores = member.T @ (v * (outcome - x @ beta))
        return beta[0] ** 2 / np.sum(scores**2)

    fitted = x[:, 1:] @ np.linalg.lstsq(x[:, 1:], y, rcond=None)[0]
    observed = t_square(y)
    drawn = [
        t_square(fitted + (member @ np.array(signs)) * (y - fitted))
        for signs in itertools.product([-1.0, 1.0], repeat=len(labels))
    ]
    return np.mean(np.array(drawn) >= observed * (1 - 1e-9))


@pytest.mark.parametrize("cluster", ["program", "course"], ids=["groups are clusters", "clusters inside groups"])
def test_wild_bootstrap_equals_regressions_on_all_sign_vectors(data, cluster):
    small = data[data["course"] % COURSES < (COURSES if cluster == "program" else 2)]
    small = small[small["program"] < 5] if cluster == "course" else small
    table = double_lasso_many(
        small,
        outcome="y",
        drivers=["d"],
        controls=[f"x{j}" for j in range(CONTROLS)],
        absorb="program",
        cluster="learner",
        wild_bootstrap=cluster,
        draws=2000,
    ).iloc[0]
    selected = [int(name[1:]) for name in table["selected"]]
    expected = brute_force_wild_p(small, "d", selected, cluster)
    assert table["wild_bootstrap_p"] == pytest.approx(expected, abs=1e-12)
    assert 0 < expected < 1


def test_penalty_counts_clusters_not_rows_in_gamma(data):
    """gamma = .1 / log(clusters), as lassopack sets it; without the refit the effect moves with every penalty."""
    settings = {"clusters": data["course"], "method": "partialling_out", "post": False}
    fit = double_lasso(*arrays(data), **settings)
    by_clusters = double_lasso(*arrays(data), gamma=0.1 / np.log(PROGRAMS * COURSES), **settings)
    by_rows = double_lasso(*arrays(data), gamma=0.1 / np.log(len(data)), **settings)
    assert fit.effect == by_clusters.effect
    assert fit.effect != pytest.approx(by_rows.effect, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"driver": np.ones(50)}, "not estimable: the driver is constant"),
        ({"driver": np.full(50, np.nan)}, "driver: 50 values are missing or infinite"),
        ({"outcome": np.ones((50, 2))}, r"outcome: an array \(n,\) was expected, found shape \(50, 2\)"),
        ({"controls": np.ones((49, 3))}, "must have the same rows"),
        ({"controls": np.full((50, 3), np.inf)}, r"controls: columns \[0, 1, 2\] hold missing or infinite"),
        ({"clusters": np.zeros((50, 3))}, "one or two columns were expected, found 3"),
        ({"absorb": np.arange(50)}, "the driver is constant within the absorbed groups"),
    ],
)
def test_arrays_that_give_no_effect_are_refused_with_the_reason(change, message):
    rng = np.random.default_rng(0)
    settings = {
        "outcome": rng.standard_normal(50),
        "driver": rng.standard_normal(50),
        "controls": rng.standard_normal((50, 3)),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        double_lasso(**settings)
