"""Many drivers from one Gram matrix: the numbers of one at a time, streamed or not, and reasons instead of gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dagster_project.stats.double_lasso import design as design_module
from dagster_project.stats.double_lasso import gram
from dagster_project.stats.double_lasso.fits import Model, fit_models
from dagster_project.stats.double_lasso.many import double_lasso_many
from dagster_project.stats.double_lasso.one import double_lasso
from dagster_project.stats.double_lasso.task import Requirements

NUMBERS = [f"x{j}" for j in range(15)]
SETTINGS = {
    "outcome": "retained",
    "drivers": ["days", "hours", "staff_graded"],
    "controls": [*NUMBERS, "country", "days"],
    "absorb": "program",
    "cluster": {"days": ("learner", "course"), "hours": "learner", "staff_graded": "course"},
    "sample": {"hours": "not_dropped"},
    "eligible": {"hours": [*NUMBERS, "country", "days"], "staff_graded": [*NUMBERS[:8], "country"]},
    "wild_bootstrap": "program",
    "draws": 499,
}


def make(seed: int = 0, learners: int = 1500) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    learner = np.repeat(np.arange(learners), 3)
    n = len(learner)
    program = np.repeat(rng.integers(0, 12, learners), 3)
    course = program * 6 + rng.integers(0, 6, n)
    frame = pd.DataFrame(rng.standard_normal((n, 15)), columns=NUMBERS)
    frame["x3"] = rng.standard_normal(72)[course]
    frame["x14"] = 1e6 + 1e-3 * frame["x14"]  # cancellation, if squares were taken without a shift
    frame.loc[rng.random(n) < 0.1, "x1"] = np.nan
    frame["country"] = rng.choice(["BR", "DE", "IN", "US", "TV"], n, p=[0.2, 0.2, 0.395, 0.2, 0.005])
    frame.loc[rng.random(n) < 0.05, "country"] = None
    frame["learner"] = np.char.add("learner ", np.char.zfill(learner.astype(str), 6))
    frame["program"], frame["course"] = np.char.add("p", program.astype(str)), course
    frame["days"] = frame["x0"] + frame["x3"] + rng.standard_normal(n) + rng.standard_normal(learners)[learner]
    frame["hours"] = frame["days"] + frame["x2"] + (frame["country"] == "US") + rng.standard_normal(n)
    frame["staff_graded"] = (rng.random(72) < 0.4)[course]
    frame["not_dropped"] = rng.random(n) < 0.8
    index = 0.3 * frame["days"] + frame["x0"] + frame["x2"] + (frame["country"] == "US") + program / 10
    frame["retained"] = (index + np.repeat(rng.standard_normal(learners), 3) > 0) * 1
    return frame


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return make()


@pytest.fixture(scope="module")
def table(data) -> pd.DataFrame:
    return double_lasso_many(data, **SETTINGS)


def close(found: pd.DataFrame, expected: pd.DataFrame, tolerance: float) -> None:
    """Numbers within the tolerance, everything else equal; simulated p-values may move by a few draws."""
    simulated = ["romano_wolf_p", "wild_bootstrap_p"]
    pd.testing.assert_frame_equal(
        found.drop(columns=simulated), expected.drop(columns=simulated), rtol=tolerance, atol=1e-12
    )
    np.testing.assert_allclose(found[simulated], expected[simulated], atol=0.005)


def expanded(data: pd.DataFrame, levels: list[str]) -> pd.DataFrame:
    """Controls as the library documents them: mean for missing, indicators, rare levels pooled, no "IN"."""
    frame = data[NUMBERS].copy()
    missing = frame["x1"].isna()
    frame["x1"] = frame["x1"].fillna(float(np.float32(frame["x1"].mean())))
    frame.insert(2, "x1 is missing", missing * 1.0)
    for level in levels:
        frame[f"country={level}"] = (data["country"].isna() if level == "(missing)" else data["country"] == level) * 1.0
    return frame


@pytest.mark.parametrize("driver", ["days", "hours", "staff_graded"])
def test_equals_one_driver_at_a_time_on_hand_made_columns(data, table, driver):
    rows = data["not_dropped"] if driver == "hours" else np.ones(len(data), dtype=bool)
    # 22 rows or so of "TV" are too few for a column of their own, and alone in the pool they join the reference
    assert 0 < (data["country"] == "TV").sum() < 30
    controls = expanded(data, ["BR", "DE", "US", "(missing)"])
    if driver == "hours":
        controls["days"] = data["days"]
    if driver == "staff_graded":
        controls = controls.drop(columns=NUMBERS[8:])
    clusters = {"days": ["learner", "course"], "hours": ["learner"], "staff_graded": ["course"]}[driver]
    fit = double_lasso(
        data.loc[rows, "retained"].to_numpy(),
        data.loc[rows, driver].to_numpy(dtype=float),
        controls[rows].to_numpy(),
        absorb=data.loc[rows, "program"].to_numpy(),
        clusters=data.loc[rows, clusters].apply(lambda column: pd.factorize(column)[0]).to_numpy(),
    )
    row = table.set_index("driver").loc[driver]
    assert row["status"] == "estimated"
    assert set(row["selected"]) == set(controls.columns[fit.selected])
    assert len(row["selected"]) >= 1 or driver == "staff_graded"
    for name in ("effect", "std_error", "p_value", "robustness_value", "degrees_of_freedom"):
        assert row[name] == pytest.approx(getattr(fit, name), rel=1e-8), name
    assert (row["conf_low"], row["conf_high"]) == pytest.approx(fit.conf_int(0.95), rel=1e-8)
    assert (row["n"], row["n_clusters"], row["n_controls"]) == (rows.sum(), fit.n_clusters, fit.n_controls)
    assert row["std_error_robust"] == pytest.approx(fit.std_errors["heteroskedastic"], rel=1e-8)
    assert row["outcome_mean"] == pytest.approx(data.loc[rows, "retained"].mean(), rel=1e-10)
    assert row["driver_mean"] == pytest.approx(data.loc[rows, driver].mean(), rel=1e-9)


@pytest.mark.parametrize("batch_rows", [37, 1000, 100_000])
def test_streamed_equals_in_memory_to_the_last_bit(data, table, batch_rows):
    arrow = pa.Table.from_pandas(data, preserve_index=False)
    streamed = double_lasso_many(lambda: iter(arrow.to_batches(max_chunksize=batch_rows)), **SETTINGS)
    pd.testing.assert_frame_equal(streamed, table, check_exact=True)
    pd.testing.assert_frame_equal(double_lasso_many(arrow, **SETTINGS), table, check_exact=True)


def test_text_may_come_as_a_dictionary_that_differs_by_batch(data, table):
    arrow = pa.Table.from_pandas(data.assign(country=data["country"].astype("category")), preserve_index=False)
    pd.testing.assert_frame_equal(double_lasso_many(arrow, **SETTINGS), table, check_exact=True)

    def batches():
        for start in range(0, len(data), 900):
            part = data.iloc[start : start + 900]
            part = part.assign(country=part["country"].astype("category"), program=part["program"].astype("category"))
            yield pa.RecordBatch.from_pandas(part, preserve_index=False)

    pd.testing.assert_frame_equal(double_lasso_many(batches, **SETTINGS), table, check_exact=True)


def test_order_of_batches_is_irrelevant(data, table):
    parts = [data.iloc[start : start + 300] for start in range(0, len(data), 300)]
    shuffled = pd.concat([parts[i] for i in np.random.default_rng(1).permutation(len(parts))])
    close(double_lasso_many(shuffled, **SETTINGS), table, 1e-10)
    assert not shuffled.index.equals(data.index)


def test_neither_a_table_in_memory_nor_a_stream_need_be_ordered_by_learner(data, table):
    shuffled = data.sample(frac=1, random_state=2)
    close(double_lasso_many(shuffled, **SETTINGS), table, 1e-10)
    arrow = pa.Table.from_pandas(shuffled, preserve_index=False)
    close(double_lasso_many(lambda: iter(arrow.to_batches(max_chunksize=700)), **SETTINGS), table, 1e-10)


@pytest.mark.parametrize("few_clusters", [1000, 10_000], ids=["learners in their order", "arrays over learners"])
def test_sums_in_slices_of_the_clusters_give_the_same(data, table, monkeypatch, few_clusters):
    """Every sum by cluster that memory does not hold at once is taken in parts, a pass each."""
    calls = []
    arrow = pa.Table.from_pandas(data, preserve_index=False)

    def batches():
        calls.append(1)
        return iter(arrow.to_batches())

    monkeypatch.setattr(design_module, "FEW_CLUSTERS", few_clusters)
    whole = double_lasso_many(batches, **SETTINGS)
    passes = len(calls)
    monkeypatch.setattr(gram, "SLICE_BYTES", 60_000)
    sliced = double_lasso_many(batches, **SETTINGS)
    close(sliced, whole, 1e-12)
    close(sliced, table, 1e-10)
    assert len(calls) - passes > 2 * passes


def test_more_clusters_than_memory_holds_in_two_columns_that_no_order_serves():
    """5,000 courses x 6,000 program x terms, the shape of a large group of universities, row after row at random."""
    rng = np.random.default_rng(8)
    n = 40_000
    course, term = rng.integers(0, 5000, n), rng.integers(0, 20, n)
    frame = pd.DataFrame({"program": course % 300, "course": course, "program_term": course % 300 * 20 + term})
    frame["learner"] = np.arange(n) // 2
    design = rng.standard_normal(5000)
    frame["design"], frame["own"] = design[course], rng.standard_normal(n)
    frame["rare"] = np.arange(n) < 3
    frame["x"] = rng.standard_normal(n)
    frame["retained"] = (0.1 * frame["own"] + frame["x"] + rng.standard_normal(n) > 0) * 1.0
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    table = double_lasso_many(
        lambda: iter(arrow.to_batches(max_chunksize=5000)),
        outcome="retained",
        drivers=["design", "own", "x", "rare"],
        controls=["x"],
        absorb="program",
        cluster={"design": "course", "own": ("learner", "course"), "x": "program_term", "rare": "course"},
        wild_bootstrap="program",
        draws=99,
    ).set_index("driver")
    assert table["status"].tolist() == ["estimated", "estimated", "estimated", "not estimable"]
    assert "too rare" in table.loc["rare", "reason"]
    assert table.loc["design", "n_clusters"] == len(np.unique(course))
    assert table.loc["x", "n_clusters"] == len(frame["program_term"].unique())
    assert table.loc[["design", "x"], "std_error_kind"].tolist() == ["jackknife", "jackknife"]
    assert table["std_error"][:3].to_numpy() == pytest.approx(table["std_error_robust"][:3].to_numpy(), rel=0.1)


def test_published_double_selection_has_heteroskedastic_loadings_and_clustered_errors(data):
    """Belloni, Chernozhukov and Hansen (2014): what is selected as without clusters, the error as with them."""
    settings = {"outcome": "retained", "drivers": ["days"], "controls": NUMBERS, "absorb": "program"}
    plain = double_lasso_many(data, **settings).iloc[0]
    clustered = double_lasso_many(data, cluster="course", std_error="cluster", **settings).iloc[0]
    published = double_lasso_many(
        data, cluster="course", loadings="heteroskedastic", std_error="cluster", **settings
    ).iloc[0]
    assert published["selected_for_driver"] == plain["selected_for_driver"]
    assert published["effect"] == plain["effect"]
    assert published["std_error_kind"] == clustered["std_error_kind"] == "cluster"
    assert published["std_error"] == published["std_error_cluster"]
    # without the refit the penalty itself shows in the effect
    settings |= {"method": "partialling_out", "post": False}
    effects = [
        double_lasso_many(data, cluster="course", loadings=loadings, **settings)["effect"][0]
        for loadings in ("heteroskedastic", "cluster")
    ]
    assert effects[0] == double_lasso_many(data, **settings)["effect"][0]
    assert effects[0] != pytest.approx(effects[1], rel=1e-4)


def test_fits_tell_their_intervals_and_a_summary(data):
    fits = fit_models(
        data.assign(one=1.0),
        [Model("first", "days", ["x0", "x2"]), Model("second", "one", ["x0"])],
        outcome="retained",
        controls=["x0", "x2"],
    )
    (row, _) = fits.table.to_dict("records")
    assert fits.conf_int().loc["first"].tolist() == pytest.approx([row["conf_low"], row["conf_high"]])
    assert fits.conf_int(0.5).loc["first"].diff().iloc[1] < row["conf_high"] - row["conf_low"]
    assert fits.conf_int().loc["second"].isna().all()
    summary = fits.summary()
    assert f"{row['effect']:.5g}" in summary
    assert "second: not estimable, the driver is constant" in summary


def test_passes_do_not_grow_with_the_number_of_drivers(data):
    arrow = pa.Table.from_pandas(data, preserve_index=False)
    calls = []

    def batches():
        calls.append(1)
        return iter(arrow.to_batches())

    def passes(drivers):
        calls.clear()
        double_lasso_many(
            batches, outcome="retained", drivers=drivers, controls=["country", *(set(NUMBERS) - set(drivers))]
        )
        return len(calls)

    assert passes(["x0", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10"]) <= passes(["x0"]) + 2 <= 10


def test_controls_that_are_not_eligible_have_no_influence(data, table):
    changed = data.assign(x10=data["staff_graded"] + data["days"] + data["x10"])
    other = double_lasso_many(changed, **SETTINGS)
    assert other["selected"][2] == table["selected"][2]
    assert other["effect"][2] == pytest.approx(table["effect"][2], rel=1e-10)
    # who may use it, does
    assert "x10" in other["selected"][0]
    assert other["effect"][0] != pytest.approx(table["effect"][0], rel=0.1)


@pytest.mark.parametrize("cluster", [None, "course"])
@pytest.mark.parametrize("absorb", [None, "program"])
def test_a_sample_equals_its_rows_given_alone(data, absorb, cluster):
    settings = {"outcome": "retained", "drivers": ["days", "hours"], "controls": ["x0", "x2", "x5"]}
    settings |= {"absorb": absorb, "cluster": cluster}
    frame = data.assign(active=(data["x0"] > 0.5) & (data["hours"] > 0), never=False)
    alone = double_lasso_many(frame[frame["active"]], **settings)
    close(double_lasso_many(frame, sample="active", **settings), alone, 1e-8)
    # without the refit the effect shows whose lasso was taken
    settings |= {"method": "partialling_out", "post": False}
    alone = double_lasso_many(frame[frame["active"]], **settings)
    unknown = frame["active"].astype("boolean").mask(~frame["active"] & (data["x5"] > 0))  # null: not in the sample
    mixed = double_lasso_many(frame.assign(active=unknown), sample={"hours": "active"}, **settings)
    assert mixed["effect"][1] == pytest.approx(alone["effect"][1], rel=1e-8)
    assert mixed["n"].tolist() == [len(data), frame["active"].sum()]
    empty = double_lasso_many(frame, sample={"days": "never"}, **settings)
    assert empty["reason"][0] == "too few rows: 0 in the sample, 100 needed"


def test_controls_the_programs_absorb_are_listed_and_do_not_count_in_the_penalty(data):
    settings = {"outcome": "retained", "drivers": ["days"], "absorb": "program", "method": "partialling_out"}
    settings["post"] = False  # then the effect moves with every penalty
    plain = double_lasso_many(data, controls=NUMBERS[:5], **settings)
    frame = data.assign(terms_a_year=data["program"].str[1:].astype(int) % 4, same=3.0)
    more = double_lasso_many(frame, controls=[*NUMBERS[:5], "terms_a_year", "same"], **settings)
    assert more["absorbed"][0] == ("terms_a_year", "same")
    close(more.drop(columns="absorbed"), plain.drop(columns="absorbed"), 1e-10)


def test_drivers_with_other_controls_do_not_share_a_lasso(data):
    settings = {"outcome": "retained", "controls": NUMBERS, "absorb": "program"}
    eligible = {"days": ["x1", "x4"], "hours": NUMBERS[:6]}
    together = double_lasso_many(data, drivers=["days", "hours"], eligible=eligible, **settings)
    for position, driver in enumerate(["days", "hours"]):
        alone = double_lasso_many(data, drivers=[driver], eligible={driver: eligible[driver]}, **settings)
        assert together["selected_for_outcome"][position] == alone["selected_for_outcome"][0]
        assert together["effect"][position] == pytest.approx(alone["effect"][0], rel=1e-10)
    assert together["selected_for_outcome"][0] != together["selected_for_outcome"][1]


def test_a_few_missing_numbers_count_as_the_mean(data):
    settings = {"outcome": "retained", "drivers": ["hours"], "controls": ["x0", "x2"]}
    frame = data.assign(x2=data["x2"].where(data.index >= 20))
    filled = frame.assign(x2=frame["x2"].fillna(frame["x2"].mean()))
    found = double_lasso_many(frame, **settings)
    assert found["selected"][0] == ("x0", "x2")  # under 30 missing rows: no indicator
    close(found, double_lasso_many(filled, **settings), 1e-6)


@pytest.mark.parametrize("cluster", [None, "course", ("learner", "course")])
def test_romano_wolf_knows_that_two_drivers_are_one(data, cluster):
    """Two nearly equal columns are one test; independent ones would nearly double the p-value."""
    rng = np.random.default_rng(6)
    frame = data.assign(noise=rng.standard_normal(len(data)))
    frame["again"] = frame["noise"] + 0.01 * rng.standard_normal(len(data))
    settings = {"outcome": "retained", "controls": ["x0"], "cluster": cluster}
    table = double_lasso_many(frame, drivers=["noise", "again"], **settings)
    assert 0.05 < table["p_value"].max() < 0.95
    np.testing.assert_allclose(table["romano_wolf_p"], table["p_value"], atol=0.03)
    frame["again"] = rng.standard_normal(len(data))
    apart = double_lasso_many(frame, drivers=["noise", "again"], **settings)
    assert apart["romano_wolf_p"].min() > apart["p_value"].min() + 0.05


def test_kept_controls_are_in_the_final_regression(data):
    settings = {"outcome": "retained", "drivers": ["days"], "controls": NUMBERS, "absorb": "program"}
    row = double_lasso_many(data.assign(x1=0.5), keep=NUMBERS, **settings).iloc[0]
    assert row["selected"] == tuple(name for name in NUMBERS if name != "x1")  # x1 does not vary
    x = data[[name for name in NUMBERS if name != "x1"]].assign(x14=data["x14"] - 1e6)
    dummies = pd.get_dummies(data["program"]).astype(float)
    coefficients = np.linalg.lstsq(
        np.column_stack([data["days"], x, dummies]), data["retained"].to_numpy(), rcond=None
    )[0]
    assert row["effect"] == pytest.approx(coefficients[0], rel=1e-8)


def test_no_controls_at_all_is_a_plain_regression(data):
    row = double_lasso_many(data, outcome="retained", drivers=["days"], controls=[]).iloc[0]
    assert row["effect"] == pytest.approx(np.cov(data["retained"], data["days"])[0, 1] / data["days"].var(), rel=1e-10)
    assert row["selected"] == ()


def test_benchmark_is_the_strongest_selected_control(data, table):
    """Partial R2 of each selected control by two regressions, as Cinelli and Hazlett define them."""
    row = table.set_index("driver").loc["days"]
    controls = expanded(data, ["BR", "DE", "US", "(missing)"])[list(row["selected"])]
    dummies = pd.get_dummies(data["program"]).to_numpy(dtype=float)

    def rest(target, *columns):
        design = np.column_stack([*columns, dummies])
        return np.sum((target - design @ np.linalg.lstsq(design, target, rcond=None)[0]) ** 2)

    y, d = data["retained"].to_numpy(dtype=float), data["days"].to_numpy()
    strength = {}
    for name in controls:
        others = controls.drop(columns=name).to_numpy()
        every = controls.to_numpy()
        strength[name] = (1 - rest(d, every) / rest(d, others), 1 - rest(y, d, every) / rest(y, d, others))
    strongest = max(strength, key=lambda name: min(strength[name]))
    assert row["benchmark_control"] == strongest
    assert (row["benchmark_r2_driver"], row["benchmark_r2_outcome"]) == pytest.approx(strength[strongest], rel=1e-8)
    r2 = 1 - rest(y, d, controls.to_numpy()) / rest(y, controls.to_numpy())
    f2 = r2 / (1 - r2)
    assert row["robustness_value"] == pytest.approx((np.sqrt(f2**2 + 4 * f2) - f2) / 2, rel=1e-8)


UNFIT = {
    "constant": (lambda d: d.assign(bad=4.2), "the driver is constant"),
    "constant in programs": (
        lambda d: d.assign(bad=d["program"].str[1:].astype(float)),
        "constant within the absorbed groups",
    ),
    "constant in its sample": (
        lambda d: d.assign(bad=d["x0"].where(d.index > 900, 0.5), use=d.index < 900),
        "the driver is constant$",
    ),
    "rare": (lambda d: d.assign(bad=np.arange(len(d)) < 12), "too rare: .* in 12 of 4,500 rows, 30 needed"),
    "rarely not": (lambda d: d.assign(bad=np.arange(len(d)) >= 9), "too rare: .* in 9 of 4,500 rows, 30 needed"),
    "rare counts": (lambda d: d.assign(bad=np.maximum(8 - np.arange(len(d)), 0)), "too rare: .* in 8 of 4,500 rows"),
    "missing": (lambda d: d.assign(bad=d["days"].where(d.index > 6)), "'bad' is missing or infinite in 7 rows"),
    "infinite": (lambda d: d.assign(bad=d["days"].where(d.index > 0, np.inf)), "'bad' is missing or infinite in 1 row"),
    "collinear": (lambda d: d.assign(bad=d["x0"] + d["x2"]), "the controls determine the driver: .* 1 % needed"),
    "nearly collinear": (
        lambda d: d.assign(bad=d["x0"] + d["x2"] + 0.05 * d["x14"].rank(pct=True)),
        "the controls determine the driver: 0.0.* %",
    ),
    "few rows": (lambda d: d.assign(bad=d["days"], use=d.index < 40), "too few rows: 40 in the sample, 100 needed"),
    "few clusters": (
        lambda d: d.assign(bad=d["days"], use=d["course"] < 6),
        "too few clusters: 6, 10 needed",
    ),
    "one cluster carries it": (
        lambda d: d.assign(bad=(d["course"] == d["course"].mode()[0]) * 1),
        "one of 72 clusters carries .* % of the driver's variation",
    ),
    "missing outcome": (
        lambda d: d.assign(bad=d["days"], use=True, retained=d["retained"].where(d.index != 5)),
        "'retained' is missing or infinite in 1 row",
    ),
}


@pytest.mark.parametrize("case", list(UNFIT))
def test_an_unfit_driver_is_a_row_with_its_reason(data, case):
    change, reason = UNFIT[case]
    frame = change(data.assign(use=True, sound=data["days"], all=data.index != 5))
    table = double_lasso_many(
        frame,
        outcome="retained",
        drivers=["sound", "bad"],
        controls=["x0", "x2", "x4"],
        absorb="program",
        cluster="course",
        sample={"bad": "use", "sound": "all"},
    )
    assert table["driver"].tolist() == ["sound", "bad"]
    assert table["status"].tolist() == ["estimated", "not estimable"]
    assert pd.isna(table["reason"][0])
    assert pd.Series([table["reason"][1]]).str.contains(reason)[0], table["reason"][1]
    assert table.loc[1, ["effect", "std_error", "p_value", "q_value", "romano_wolf_p"]].isna().all()
    # the family of the p-values is what was estimated
    assert table["q_value"][0] == table["p_value"][0]


def test_too_many_controls_fixed_within_courses_are_refused_for_a_course_driver(data):
    rng = np.random.default_rng(4)
    frame = data.copy()
    names = [f"c{j}" for j in range(20)]
    for name in names:
        frame[name] = rng.standard_normal(72)[frame["course"]]
    settings = {"outcome": "retained", "controls": names, "keep": names, "absorb": "program", "cluster": "course"}
    table = double_lasso_many(frame, drivers=["staff_graded", "days"], **settings)
    assert table["status"].tolist() == ["not estimable", "estimated"]
    assert "20 selected controls are fixed within clusters" in table["reason"][0]
    fewer = {**settings, "controls": names[:14], "keep": names[:14]}
    allowed = double_lasso_many(frame, drivers=["staff_graded"], **fewer)
    assert allowed["status"].tolist() == ["estimated"], allowed["reason"][0]


def test_infinite_controls_stop_only_the_drivers_that_may_use_them(data):
    frame = data.assign(x4=data["x4"].where(data.index > 2, np.inf))
    table = double_lasso_many(
        frame, outcome="retained", drivers=["days", "hours"], controls=["x0", "x4"], eligible={"hours": ["x0"]}
    )
    assert table["status"].tolist() == ["not estimable", "estimated"]
    assert table["reason"][0] == "control 'x4' has 3 infinite values"


def test_a_control_like_an_identifier_stops_only_the_drivers_that_may_use_it(data):
    table = double_lasso_many(
        data, outcome="retained", drivers=["days", "hours"], controls=["x0", "learner"], eligible={"hours": ["x0"]}
    )
    assert table["status"].tolist() == ["not estimable", "estimated"]
    assert table["reason"][0].startswith("control 'learner' has more than 1,000 levels like an identifier")


def test_all_drivers_unfit_is_still_a_table(data):
    table = double_lasso_many(data.assign(one=1.0), outcome="retained", drivers=["one"], controls=["x0"])
    assert table["status"].tolist() == ["not estimable"]


def test_requirements_can_be_changed(data):
    frame = data.assign(rare=np.arange(len(data)) < 12)
    settings = {"outcome": "retained", "drivers": ["rare"], "controls": ["x0"]}
    assert double_lasso_many(frame, **settings)["status"][0] == "not estimable"
    assert double_lasso_many(frame, require=Requirements(rare_rows=10), **settings)["status"][0] == "estimated"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drivers": ["dayz"]}, r"no column \['dayz'\]"),
        ({"drivers": ["country"]}, "'country' holds .*; an outcome or driver must be a number"),
        ({"controls": ["x0", "x0"]}, r"named once.*\['x0'\]"),
        ({"controls": ["retained"]}, "the outcome is no driver or control"),
        ({"eligible": {"days": ["x0", "zzz"]}}, r"eligible of 'days' names columns .*\['zzz'\]"),
        ({"eligible": {"weeks": ["x0"]}}, r"eligible names drivers .*\['weeks'\]"),
        ({"cluster": ("learner", "course", "program")}, "one or two different columns"),
        ({"cluster": "maybe"}, "'maybe' is null in 2 rows"),
        ({"sample": "course"}, "Sample column 'course' holds int64; a boolean was expected"),
        ({"method": "ridge"}, "'double_selection' or 'partialling_out'"),
        ({"loadings": "robust"}, "loadings: 'heteroskedastic' or 'cluster' was expected, found 'robust'"),
        ({"std_error": "HC1"}, "std_error: 'jackknife' or 'cluster' was expected, found 'HC1'"),
    ],
)
def test_mistakes_are_named(data, change, message):
    frame = data.assign(maybe=data["program"].where(data.index > 1))
    settings = {"outcome": "retained", "drivers": ["days"], "controls": ["x0"], **change}
    with pytest.raises(ValueError, match=message):
        double_lasso_many(frame, **settings)


def test_a_stream_that_changes_between_passes_is_refused(data):
    arrow = pa.Table.from_pandas(data, preserve_index=False)
    calls = []

    def batches():
        calls.append(1)
        return iter(arrow.slice(0, len(arrow) - 10 * (len(calls) > 1)).to_batches())

    with pytest.raises(ValueError, match="4,500 rows in its first pass and 4,490 in a later one"):
        double_lasso_many(batches, outcome="retained", drivers=["days"], controls=["x0"])


def test_blocks_hold_whole_learners_however_the_batches_are_cut(data, monkeypatch):
    monkeypatch.setattr(design_module, "BLOCK_ROWS", 50)
    arrow = pa.Table.from_pandas(data, preserve_index=False)
    made = design_module.table_design(
        lambda: iter(arrow.to_batches(max_chunksize=7)),
        outcome="retained",
        drivers=["days"],
        controls=["x0"],
        absorb=None,
        clusters=["learner"],
        samples=[None],
    )
    blocks = list(made.design.blocks())
    assert sum(block.values.shape[1] for block in blocks) == len(data)
    assert sum(block.clusters[0].max() + 1 for block in blocks) == 1500
    assert {block.values.shape[1] for block in blocks[:-1]} == {48}
