"""Effects of a whole catalogue of drivers: the metric, its contrasts, and what stands beside each figure."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import statsmodels.api as sm

from dagster_project import simulate
from dagster_project.stats.double_lasso.fits import Model, fit_models
from dagster_project.stats.driver_effects import placebos
from dagster_project.stats.driver_effects.analysis import driver_effects, eligibility_errors
from dagster_project.stats.driver_effects.effects import shrink
from dagster_project.stats.driver_effects.falsification import placebo_errors
from dagster_project.stats.driver_effects.level import Columns, Driver
from dagster_project.stats.driver_effects.logit import logit_percents
from dagster_project.stats.driver_effects.percent import finding
from dagster_project.stats.driver_effects.placebos import swap_clusters, swap_learners
from dagster_project.stats.driver_effects.specifications import SPECIFICATIONS

SEEDS = Path(__file__).resolve().parents[2] / "dbt" / "seeds"
COLUMNS = Columns(program="program_id", learner="learner_id", course="course_id", term="first_term_id")


def seeds() -> dict[str, pd.DataFrame]:
    names = {"catalogue": "catalogue", "groups": "control_groups", "eligibility": "control_eligibility"}
    return {key: pd.read_csv(SEEDS / f"driver_{name}.csv") for key, name in names.items()}


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    made = simulate.tables(3, 2500)._asdict()
    order = [("program_id", "ascending"), ("learner_id", "ascending")]
    return {level: table.sort_by(order) for level, table in made.items()}


@pytest.fixture(scope="module")
def found(tables):
    batches = {level: partial(pa.Table.to_batches, table, max_chunksize=1000) for level, table in tables.items()}
    return driver_effects(batches, **seeds(), columns=COLUMNS, placebo_draws=20)


def overall(found) -> pd.DataFrame:
    effects = found.effects
    return effects[effects["program_key"].isna()].set_index("driver_id")


def test_every_driver_has_a_row_with_a_figure_or_a_reason(found):
    rows = overall(found)
    assert rows.index.tolist() == seeds()["catalogue"]["driver_id"].tolist()
    assert (rows["status"] == "estimated").sum() > 20
    assert rows.loc[rows["status"] == "not estimable", "reason"].notna().all()
    assert rows.loc[rows["status"] == "estimated", ["percent", "percent_low", "romano_wolf_p"]].notna().all(axis=None)


def test_the_percent_is_the_printed_formula_and_its_interval_agrees_with_the_p_value(found):
    rows = overall(found)
    rows = rows[rows["status"] == "estimated"]
    span = rows["contrast_high"] - rows["contrast_low"]
    base = rows["outcome_mean"] + rows["effect"] * (rows["contrast_low"] - rows["driver_mean"])
    assert rows["percent"].to_numpy() == pytest.approx((100 * rows["effect"] * span / base).to_numpy())
    assert rows["points"].to_numpy() == pytest.approx((100 * rows["effect"] * span).to_numpy())
    holds_zero = (rows["percent_low"] < 0) & (rows["percent_high"] > 0)
    assert (holds_zero == (rows["p_value"] > 0.05)).all()
    # delta method: the derivative by alpha
    step = 1e-6
    moved = 100 * (rows["effect"] + step) * span / (base + step * (rows["contrast_low"] - rows["driver_mean"]))
    slope = ((moved - rows["percent"]) / step).abs()
    assert rows["percent_std_error"].to_numpy() == pytest.approx((slope * rows["std_error"]).to_numpy(), rel=1e-3)


def test_levels_points_and_percent_are_one_figure(found):
    rows = found.effects[found.effects["status"] == "estimated"].astype({"percent": float})
    levels = rows[["retention_at_low", "retention_at_high"]].astype(float)
    change = levels["retention_at_high"] - levels["retention_at_low"]
    assert rows["points"].astype(float).to_numpy() == pytest.approx(100 * change.to_numpy())
    assert rows["percent"].to_numpy() == pytest.approx((100 * change / levels["retention_at_low"]).to_numpy())


@pytest.mark.parametrize(
    ("family_p", "low", "high", "word"),
    [
        (0.05, 0.1, 9.0, "shown"),
        (0.051, 0.1, 9.0, "hint"),
        (0.4, -9.0, -0.1, "hint"),
        (0.4, -0.1, 9.0, "not shown"),
        (1.0, 0.0, 9.0, "not shown"),
    ],
)
def test_three_words_say_what_a_figure_shows(family_p, low, high, word):
    assert finding(family_p, low, high) == word


def test_every_estimate_has_its_word_and_what_has_none_has_no_word(found):
    rows = found.effects
    estimated = rows[rows["status"] == "estimated"]
    words = [finding(*x) for x in estimated[["romano_wolf_p", "percent_low", "percent_high"]].itertuples(index=False)]
    assert estimated["finding"].tolist() == words
    assert rows.loc[rows["status"] != "estimated", "finding"].isna().all()
    assert {"shown", "not shown"} <= set(overall(found)["finding"].dropna())


def test_rows_by_program_are_one_family_of_their_own(found):
    """By themselves one in twenty of them would be a finding by chance; what is shown holds for all of them at once."""
    rows = found.effects[found.effects["program_key"].notna() & (found.effects["status"] == "estimated")]
    family, alone = rows["romano_wolf_p"].astype(float), rows["p_value"].astype(float)
    assert len(rows) > 50
    assert (family >= alone).all()
    # nearly as Bonferroni has it, for programs share nobody
    smallest = alone.to_numpy().argmin()
    assert family.iloc[smallest] >= min(1.0, 0.2 * len(rows) * alone.iloc[smallest])
    claimed = (rows["percent_low"] > 0) | (rows["percent_high"] < 0)
    assert (rows["finding"] == "shown").sum() < claimed.sum()
    assert rows[["shrunken_percent_low", "shrunken_percent", "shrunken_percent_high"]].notna().all(axis=None)


def test_every_figure_rests_on_the_mean_of_its_own_sample(tables, found):
    """Samples of nearly one size are not one sample: a share of quizzes above 0 and a course that was not dropped."""
    catalogue = seeds()["catalogue"].set_index("driver_id")
    rows = found.effects[found.effects["status"] == "estimated"]
    seen = set()
    for row in rows.to_dict("records"):
        frame = tables[row["level"]].to_pandas()
        if isinstance(row["program_key"], str):
            frame = frame[frame["program_id"] == row["program_key"]]
        values, rule = frame[catalogue.loc[row["driver_id"], "mart_column"]], catalogue.loc[row["driver_id"], "sample"]
        kept = values.notna()
        kept &= (values > 0) if rule == "share > 0" else True
        kept &= ~frame["is_dropped"].fillna(False).astype(bool) if rule == "not dropped" else True
        own = frame.loc[kept, "is_retained"].astype(float).mean()
        assert row["row_count"] == kept.sum()
        # a mean that is shared is that of a sample with fewer than ten rows more
        assert row["outcome_mean"] == pytest.approx(own, abs=9 / kept.sum())
        seen.add(abs(row["outcome_mean"] - own) < 1e-12)
    assert True in seen


def test_a_row_drawn_by_hand(tables, found):
    """First hand-ins on time, with what the double lasso chose, by statsmodels on expanded columns."""
    row = overall(found).loc["first_on_time"]
    frame = tables["learner_course"].to_pandas()
    frame = frame[frame["is_first_on_time"].notna()]
    columns = {"driver": frame["is_first_on_time"]}
    for control in row["selected_controls"].split(", "):
        column, _, level = control.partition("=")
        values = (
            frame[column].fillna(tables["learner_course"][column].to_pandas().mean()) if not level else frame[column]
        )
        columns[control] = (values == level) if level else values
    programs = pd.get_dummies(frame["program_id"])
    x = pd.concat([pd.DataFrame(columns), programs], axis=1).astype(float)
    fit = sm.OLS(frame["is_retained"].astype(float), x).fit()
    assert row["effect"] == pytest.approx(fit.params["driver"], rel=1e-8)
    assert row["row_count"] == len(frame)
    logit = sm.Logit(frame["is_retained"].astype(float), x).fit(disp=0)
    means = [logit.predict(x.assign(driver=value)).mean() for value in (0.0, 1.0)]
    assert row["logit_percent"] == pytest.approx(100 * (means[1] / means[0] - 1), rel=1e-4)


def driver(values, rule: str, printed=(np.nan, np.nan)) -> Driver:
    values, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    made = Driver("d", "d", "own", "all", rule, printed, 1, values=values, counts=counts)
    made.set_contrast()
    return made


@pytest.mark.parametrize(
    ("values", "rule", "printed", "expected"),
    [
        (np.r_[np.zeros(90), np.ones(10)], "zero_to_one", (0, 1), ("zero to one", 0, 1)),
        (np.arange(101), "printed", (20, 70), ("printed", 20, 70)),
        (
            np.arange(101),
            "printed",
            (20, 99),
            ("own quartiles (the printed contrast lies outside our data)", 25, 75),
        ),
        (np.arange(101), "own_quartiles", (np.nan, np.nan), ("own quartiles", 25, 75)),
        (np.r_[1, np.full(98, 2), 3], "own_quartiles", (np.nan, np.nan), ("median to median + 1", 2, 3)),
    ],
)
def test_the_contrast_follows_the_rule_and_stays_inside_the_data(values, rule, printed, expected):
    made = driver(values, rule, printed)
    assert (made.rule, made.low, made.high) == expected


def test_quantiles_are_numpys():
    values = np.random.default_rng(1).integers(0, 30, 777)
    made = driver(values, "own_quartiles")
    for share in (0.025, 0.25, 0.5, 0.6, 0.975, 1.0):
        assert made.quantile(share) == pytest.approx(np.quantile(values, share))


def test_no_eligible_control_lies_downstream_of_its_driver():
    assert eligibility_errors(**seeds()) == []


def test_a_downstream_control_is_named():
    made = seeds()
    rows = made["eligibility"]
    rows.loc[(rows["driver_group"] == "type_quiz") & (rows["control_group"] == "GRADE"), "eligible"] = "yes"
    rows = rows.drop(rows.index[(rows["driver_group"] == "type_quiz") & (rows["control_group"] == "ACT1")])
    errors = eligibility_errors(made["catalogue"], made["groups"], rows)
    assert any("type_quiz × GRADE is eligible, yet after" in error for error in errors)
    assert any("type_quiz × ACT1 has no row" in error for error in errors)
    # the time stamp alone is enough
    rows.loc[(rows["driver_group"] == "type_quiz") & (rows["control_group"] == "GRADE"), "reason"] = "before"
    assert any("settled at end" in error for error in eligibility_errors(made["catalogue"], made["groups"], rows))


def test_a_level_without_rows_says_why():
    found = driver_effects(
        {"learner_program": None, "learner_course": lambda: iter([])},
        **seeds(),
        reasons={"learner_program": "the source has no outcome"},
    )
    rows = overall(found)
    assert len(rows) == 30
    assert set(rows["status"]) == {"not estimable"}
    assert set(rows["reason"]) == {"the source has no outcome", "there are no rows with a known outcome"}
    assert not len(found.placebos)
    assert not len(found.dose_response)


def test_a_university_too_small_for_any_figure_gets_reasons_only(tables):
    program = tables["learner_program"]["program_id"][0]
    small = {
        level: table.filter(pc.equal(table["program_id"], program)).slice(0, 150) for level, table in tables.items()
    }
    batches = {level: partial(pa.Table.to_batches, table) for level, table in small.items()}
    found = driver_effects(batches, **seeds(), columns=COLUMNS, placebo_draws=10)
    rows = overall(found)
    assert len(rows) == 30
    missing = rows[rows["status"] == "not estimable"]
    assert len(missing) > 10
    assert missing["reason"].notna().all()


def test_behaviour_in_a_university_of_few_courses_clusters_by_first_term_within_courses(tables):
    """4 programs x 2 courses: too few to cluster by, but not for what differs between the learners of one course."""
    small = {}
    for level, table in tables.items():
        frame = table.to_pandas()
        frame["program_id"] = "P" + (frame["program_id"].astype("category").cat.codes % 4).astype(str)
        if "course_id" in frame:
            frame["course_id"] = frame["program_id"] + (frame["course_id"].astype("category").cat.codes % 2).astype(str)
        small[level] = pa.Table.from_pandas(frame.sort_values(["program_id", "learner_id"]), preserve_index=False)
    batches = {level: table.to_batches for level, table in small.items()}
    result = driver_effects(batches, **seeds(), columns=COLUMNS, placebo_draws=5, by_program=False)
    rows = overall(result)
    own = rows.loc[["days_active", "grade_achieved", "learning_hours", "first_on_time", "first_days_active"]]
    assert set(own["status"]) == {"estimated"}
    assert set(own["clustered_by"]) == {"program × term"}
    assert own["wild_bootstrap_p"].notna().all()
    assert own["selected_controls"].str.contains("course_id=").all()
    # of a course's design there is nothing to be told from eight courses
    reason = "too few courses in the first term to tell chance from more: 8, 10 needed"
    assert rows.loc["has_quiz", "reason"] == reason
    # by statsmodels: the driver, what the double lasso chose, and the course
    row, frame = rows.loc["first_on_time"], small["learner_course"].to_pandas()
    frame = frame[frame["is_first_on_time"].notna()]
    columns = {"driver": frame["is_first_on_time"]}
    for control in row["selected_controls"].split(", "):
        column, _, level = control.partition("=")
        mean = small["learner_course"][column].to_pandas().mean() if not level else None
        columns[control] = frame[column] == level if level else frame[column].fillna(mean)
    courses = pd.get_dummies(frame["course_id"])
    x = pd.concat([pd.DataFrame(columns).drop(columns=[c for c in columns if "course_id=" in c]), courses], axis=1)
    assert row["effect"] == pytest.approx(
        sm.OLS(frame["is_retained"].astype(float), x.astype(float)).fit().params["driver"]
    )


def test_more_than_a_thousand_first_terms_and_courses_stop_nothing(tables):
    """60 programs x 18 first terms and 1,200 courses, in an order that serves neither."""
    many = {}
    for level, table in tables.items():
        frame = table.to_pandas()
        place = frame["learner_id"].astype("category").cat.codes
        frame["program_id"], frame["first_term_id"] = (
            "P" + (place % 60).astype(str),
            "T" + (place // 60 % 18).astype(str),
        )
        if "course_id" in frame:
            frame["course_id"] = frame["program_id"] + "C" + (np.arange(len(frame)) % 20).astype(str)
        many[level] = pa.Table.from_pandas(frame.sort_values(["program_id", "learner_id"]), preserve_index=False)
    chosen = seeds()
    asked = chosen["catalogue"]["driver_id"].isin(["courses_enrolled", "has_quiz", "days_active"])
    chosen["catalogue"] = chosen["catalogue"][asked]
    batches = {level: partial(pa.Table.to_batches, table, max_chunksize=1000) for level, table in many.items()}
    rows = overall(driver_effects(batches, **chosen, columns=COLUMNS, placebo_draws=3, by_program=False))
    assert set(rows["status"]) == {"estimated"}
    assert rows.loc["courses_enrolled", "cluster_count"] > 1000
    assert rows.loc["days_active", "cluster_count"] > 1000
    assert rows.loc[["courses_enrolled", "has_quiz"], "std_error_kind"].tolist() == ["jackknife", "jackknife"]


def test_a_driver_without_its_column_says_so(tables):
    table = tables["learner_program"].drop_columns(["has_open_completion"])
    found = driver_effects(
        {"learner_program": table.to_batches, "learner_course": None},
        **seeds(),
        columns=COLUMNS,
        placebo_draws=0,
        by_program=False,
    )
    assert overall(found).loc["open_completion", "reason"] == "the rows have no column has_open_completion"


def test_the_specification_curve_runs_from_naive_to_all_eligible(tables, found):
    curve = found.specifications.set_index(["driver_id", "specification"])
    frame = tables["learner_program"].to_pandas()
    y, d = frame["is_retained"] * 1.0, frame["has_open_completion"] * 1.0
    naive = curve.loc[("open_completion", "naive")]
    assert naive["effect"] == pytest.approx(np.cov(y, d)[0, 1] / d.var())
    assert naive["control_count"] == 0
    kinds = curve.loc["days_active"].index.tolist()
    elsewhere = ("and doubtful controls", "graduates too", "as printed")
    assert kinds == [name for name in SPECIFICATIONS if name not in elsewhere]
    assert (
        curve.loc[("open_completion", "all eligible"), "control_count"]
        > curve.loc[("open_completion", "double lasso"), "control_count"]
    )
    rows = overall(found)
    assert rows.loc["days_active", "course_term_percent"] == pytest.approx(
        curve.loc[("days_active", "course and term absorbed"), "percent"]
    )


@pytest.mark.parametrize(("driver_id", "cluster"), [("has_quiz", "course_id"), ("open_completion", "program_term")])
def test_the_curve_has_the_errors_of_the_published_figure(tables, found, driver_id, cluster):
    row = overall(found).loc[driver_id]
    curve = found.specifications.set_index(["driver_id", "specification"])
    assert row["std_error_kind"] == "jackknife"
    frame = tables[row["level"]].to_pandas()
    frame["program_term"] = frame["program_id"] + frame["first_term_id"]
    column = seeds()["catalogue"].set_index("driver_id").loc[driver_id, "mart_column"]
    model = Model("m", column, cluster=[cluster])
    for specification, absorb in (("naive", None), ("program only", "program_id")):
        fit = fit_models(frame, [model], outcome="is_retained", controls=[], absorb=absorb, draws=1).table.iloc[0]
        assert fit["std_error_kind"] == "jackknife"
        assert curve.loc[(driver_id, specification), "std_error"] == pytest.approx(fit["std_error"], rel=1e-9)


def test_graduates_are_left_out_and_counted_as_retained_beside(tables):
    """400 more rows of graduates, all retained: the published figures do not know them, a row of the curve does."""
    table = tables["learner_program"]
    graduates = table.slice(0, 400)
    position = graduates.schema.get_field_index("is_retained")
    graduates = graduates.set_column(position, "is_retained", pa.array(np.ones(400, dtype=bool)))
    everybody = pa.concat_tables([table, graduates]).sort_by([("program_id", "ascending"), ("learner_id", "ascending")])
    settings = {**seeds(), "columns": COLUMNS, "placebo_draws": 0, "by_program": False}
    batches = {"learner_program": table.to_batches, "learner_course": None}
    plain = driver_effects(batches, **settings)
    found = driver_effects(batches, with_graduates={"learner_program": everybody.to_batches}, **settings)
    pd.testing.assert_frame_equal(found.effects, plain.effects)
    curve = found.specifications.set_index(["driver_id", "specification"])
    assert curve.loc[("courses_enrolled", "graduates too"), "row_count"] == len(table) + 400
    assert (
        curve.loc[("courses_enrolled", "graduates too"), "outcome_mean"]
        > curve.loc[("courses_enrolled", "double lasso"), "outcome_mean"]
    )
    assert "graduates too" not in set(plain.specifications["specification"])


def test_any_open_completion_as_the_report_prints_it_stands_beside_the_disjoint_driver(tables):
    table = tables["learner_program"]
    either = pc.or_(table["has_open_completion"], table["has_stackable_completion"])
    table = table.append_column("has_open_completion_any", either)
    found = driver_effects(
        {"learner_program": table.to_batches, "learner_course": None},
        **seeds(),
        columns=COLUMNS,
        placebo_draws=0,
        by_program=False,
    )
    row = found.specifications.set_index(["driver_id", "specification"]).loc[("open_completion", "as printed")]
    assert row["status"] == "estimated"
    assert row["driver_mean"] == pytest.approx(pc.mean(either.cast(pa.float64())).as_py())


def test_dose_response_counts_every_row_and_starts_at_zero(tables, found):
    rows = found.dose_response[found.dose_response["driver_id"] == "first_days_active"]
    values = tables["learner_course"]["first_deadline_days_active"].to_pandas().dropna()
    assert rows["row_count"].sum() == len(values)
    assert rows["points"].iloc[0] == 0
    assert (rows["bin_low"].iloc[1:].to_numpy() > rows["bin_high"].iloc[:-1].to_numpy()).all()
    # the mean retention is that of the sample
    mean = np.average(rows["retention"], weights=rows["row_count"])
    assert mean == pytest.approx(overall(found).loc["first_days_active", "outcome_mean"])


def test_programs_have_rows_and_shrinking_draws_them_together(found):
    rows = found.effects[(found.effects["driver_id"] == "courses_enrolled") & found.effects["program_key"].notna()]
    assert len(rows) == 19
    estimated = rows[rows["status"] == "estimated"]
    assert (rows.loc[rows["status"] == "not estimable", "reason"].notna()).all()
    if len(estimated) > 1:
        assert estimated["shrunken_percent"].std() <= estimated["percent"].std()
    few = found.effects[found.effects["reason"].fillna("").str.startswith("too few rows")]
    assert len(few) > 5
    assert few[["row_count", "outcome_mean", "driver_mean"]].isna().all(axis=None)


def test_shrinking_by_hand():
    # Estimates 0 and 4 have variance 8, of which 1 is chance: 7/8 of each distance from the mean 2 is kept.
    shrunken, std_errors, between = shrink(np.array([0.0, 4.0]), np.array([1.0, 1.0]))
    assert between == pytest.approx(np.sqrt(7), rel=1e-5)
    np.testing.assert_allclose(shrunken, [0.25, 3.75], rtol=1e-5)
    np.testing.assert_allclose(std_errors, np.sqrt(7 / 8 + (1 / 8) ** 2 * (8 / 2)), rtol=1e-5)
    alone = shrink(np.array([3.0]), np.array([0.5]))
    assert (alone[0].tolist(), alone[1].tolist(), alone[2]) == ([3.0], [0.5], 0.0)


def test_shrinking_keeps_what_is_not_chance():
    rng = np.random.default_rng(5)
    truth = 3 + 2 * rng.standard_normal(4000)
    errors = rng.uniform(0.5, 3, 4000)
    estimates = truth + errors * rng.standard_normal(4000)
    shrunken, std_errors, between = shrink(estimates, errors)
    assert between == pytest.approx(2, rel=0.05)
    assert np.mean((shrunken - truth) ** 2) < 0.6 * np.mean((estimates - truth) ** 2)
    assert np.mean(np.abs(shrunken - truth) < 1.96 * std_errors) == pytest.approx(0.95, abs=0.01)
    assert shrink(np.array([1.0, 1.1]), np.array([1.0, 1.0]))[2] == 0


def small_fits(tables):
    """A course design and two drivers of learners, few enough clusters for every kind of error."""
    frame = tables["learner_course"].slice(0, 900).to_pandas()
    frame["program_term"] = frame["program_id"] + frame["first_term_id"]
    kept = ("age_years", "region")
    return fit_models(
        frame,
        [
            Model("design", "max_item_weight", ["age_years", "region", "item_count"], kept, None, ["course_id"]),
            Model("own", "days_active", ["age_years", "region"], kept, None, ["learner_id", "course_id"]),
            Model("by term", "age_years", ["region"], ("region",), None, ["program_term"]),
        ],
        outcome="is_retained",
        controls=["age_years", "region", "item_count"],
        absorb="program_id",
        more_clusters=["program_term"],
        draws=1,
    )


def test_reassigning_nothing_finds_nothing_with_the_models_own_error(tables, monkeypatch):
    """With every value left in its place the effect, which is taken out first, is zero, and the residuals, and with
    them every kind of standard error, are the model's."""

    def in_place(strata, draws, rng):
        members = np.arange(len(strata))
        yield np.tile(members, (draws, 1)), members

    monkeypatch.setattr(placebos, "_orders", in_place)
    fits = small_fits(tables)
    table = fits.table.set_index("model")
    learners = swap_learners(fits, [1], stratum="program_term", unit="learner_id", draws=3)
    learners |= swap_learners(fits, [2], stratum="program_term", draws=3)
    for name, draws in {
        "design": swap_clusters(fits, [0], draws=3)[0],
        "own": learners[1],
        "by term": learners[2],
    }.items():
        assert draws.effects == pytest.approx(np.zeros(3), abs=1e-9 * table.loc[name, "std_error"]), name
        assert draws.std_errors == pytest.approx(np.full(3, table.loc[name, "std_error"]), rel=1e-8), name


def test_reassignment_keeps_a_learners_values_together(monkeypatch):
    monkeypatch.setattr(placebos, "SMALL_STRATUM", 2)
    rows = placebos._Rows(
        values={0: np.arange(9.0)},
        unit=np.array([0, 0, 1, 1, 2, 3, 4, 4, 5]),
        stratum=np.array([7, 7, 7, 7, 7, 7, 8, 8, 8]),
        group=np.zeros(9, dtype=np.int64),
    )
    values = placebos._reassigned(rows, 200, np.random.default_rng(0))(0, slice(None))
    # pairs swap with pairs of their stratum, singles with singles
    assert {tuple(draw[:2]) for draw in values} == {(0, 1), (2, 3)}
    assert {draw[4] for draw in values} == {4, 5}
    # the pair and the single that are alone in their stratum have nobody to swap with
    assert (values[:, 6:] == [6, 7, 8]).all()
    assert (np.sort(values, axis=1) == np.arange(9)).all()


def test_first_terms_with_few_learners_swap_within_the_program():
    rows = placebos._Rows(
        values={0: np.arange(4.0)},
        unit=np.arange(4),
        stratum=np.array([1, 2, 3, 4]),
        group=np.array([0, 0, 1, 1]),
    )
    values = placebos._reassigned(rows, 100, np.random.default_rng(0))(0, slice(None))
    assert {tuple(draw[:2]) for draw in values} == {(0, 1), (1, 0)}
    assert {tuple(draw[2:]) for draw in values} == {(2, 3), (3, 2)}


def test_chunks_of_draws_and_blocks_do_not_matter_to_the_count(tables, monkeypatch):
    fits = small_fits(tables)
    monkeypatch.setattr(placebos, "CHUNK_BYTES", 8 * 900 * 2)
    draws = swap_learners(fits, [1], stratum="program_term", unit="learner_id", draws=5)[1]
    assert len(draws.p_values) == 5
    assert len(np.unique(draws.effects)) == 5


def test_placebos_out_of_bounds_are_named_by_kind():
    rows = pd.DataFrame(
        {
            "kind": ["own", "own", "design", "own"],
            "placebo": ["reassigned in blocks", "reassigned in blocks", "reassigned in blocks", "earlier outcome"],
            "draw_count": [200, 200, 200, 1],
            "rejected_count": [30, 12, 0, 1],
        }
    )
    assert placebo_errors(rows) == [
        "design: 0.0 % of 200 placebos rejected at the 5 % level",
        "own: 10.5 % of 400 placebos rejected at the 5 % level",
    ]


def test_placebos_of_this_analysis_are_complete(found):
    drawn = found.placebos
    assert set(drawn["placebo"]) == {
        "reassigned in blocks",
        "noise by course",
        "noise by first term",
        "noise by learner",
        "earlier outcome",
    }
    estimated = overall(found)["status"] == "estimated"
    assert (drawn["placebo"] == "reassigned in blocks").sum() == estimated.sum()


def test_a_logit_that_cannot_converge_is_unknown_not_wrong():
    frame = pd.DataFrame({"y": np.repeat([0.0, 1.0], 50), "d": np.repeat([0.0, 1.0], 50), "x": np.arange(100.0) % 7})
    frame.loc[0, "y"] = 1.0
    fits = fit_models(frame, [Model("m", "d", ["x"])], outcome="y", controls=["x"], draws=1)
    assert np.isnan(logit_percents(fits, [0.0], [1.0])).all()
