"""Each check of the at-risk scores fails where its claim is false, and keeps a model that fails it from scoring; files
of models that changed are refused.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from dagster_project.analyses.at_risk import scoring as scoring_module
from dagster_project.analyses.at_risk import training as training_module
from dagster_project.analyses.at_risk.judgement import Judgement
from dagster_project.analyses.at_risk.registry import (
    champion_of,
    is_readable,
    load_reference,
    load_scorer,
    pinned_version,
    save_scorer,
)
from dagster_project.analyses.at_risk.scoring import SCORING_TABLES, _score, _uncontacted, read_active
from dagster_project.analyses.at_risk.subjects import COLUMNS, Subject, call_shares
from dagster_project.analyses.at_risk.training import TRAINING_TABLES, Training, _train, _why_not
from dagster_project.analyses.tables import CONTRACTS
from dagster_project.defs.at_risk import assets, checks
from dagster_project.defs.resources import WarehouseResource
from dagster_project.settings import Settings
from dagster_project.stats.risk.backtest import Backtest, reference_of
from dagster_project.stats.risk.models import MODELS, Feature, HistogramTrees
from dagster_project.stats.risk.rows import Columns, Rows, prepare
from dagster_project.stats.risk.training import draw_training_rows, fit_scorer
from dagster_project.store.findings import contract, record
from dagster_project.store.publish import WALL_CLOCK_COLUMNS
from dagster_project.store.warehouse import Warehouse
from tests.made_findings import finding

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
NAME = "campus/not_retained"
NOW = datetime(2025, 1, 1)
SUBJECT = Subject(
    name="not_retained",
    features=(
        Feature("click_count", "study_time", direction=-1),
        Feature("since_last_activity_days", "recent_activity", direction=1),
    ),
    subgroups=(),
    rows="",
    mart="",
    ends="",
    key="",
    active="",
)
NO_REGISTRY = pd.DataFrame(
    columns=["source", "outcome", "model", "model_version", "trained_at", "is_champion", "file", "decision", "metrics"]
)


def made_cohorts(terms: int = 3, learners: int = 300) -> pd.DataFrame:
    """Cohorts a year apart, weeks 2 and 4, of learners whose risk shows in what they do."""
    rng = np.random.default_rng(7)
    parts = []
    for term in range(terms):
        risk = rng.normal(-0.5, 1.3, learners)
        y = (rng.random(learners) < expit(risk)).astype(int)
        for week in (2, 4):
            parts.append(
                pd.DataFrame(
                    {
                        "enrollment_key": [f"{term}-{i}" for i in range(learners)],
                        "learner_key": [f"{term}-{i}" for i in range(learners)],
                        "peer_group": np.where(np.arange(learners) % 2, f"{term} a", f"{term} b"),
                        "program_key": "campus:p",
                        "course_key": None,
                        "term": f"{2020 + term}-09",
                        "starts_on": pd.Timestamp(2020 + term, 9, 1),
                        "known_on": pd.Timestamp(2021 + term, 6, 1),
                        "week_number": week,
                        "start_month": "9",
                        "click_count": rng.poisson(np.exp(3 - 0.5 * risk)).astype(float),
                        "since_last_activity_days": rng.poisson(np.exp(1 + 0.4 * risk)).astype(float),
                        "withdrawal_day": np.nan,
                        "y": y,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def with_label_noise(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the last cohort a third of the outcomes is wrong; what was known before stays as it was."""
    learners = rows.loc[rows["term"] == rows["term"].max(), "learner_key"].unique()
    drawn = pd.Series(np.random.default_rng(1).random(len(learners)) < 1 / 3, learners)
    is_wrong = rows["learner_key"].map(drawn).fillna(False).astype(bool)
    return rows.assign(y=np.where(is_wrong, 1 - rows["y"], rows["y"]))


def with_a_shifted_cohort(rows: pd.DataFrame) -> pd.DataFrame:
    """The last cohort's clicks are counted twice, its visits a week late."""
    is_last = rows["term"] == rows["term"].max()
    return rows.assign(
        click_count=rows["click_count"] * np.where(is_last, 2, 1),
        since_last_activity_days=rows["since_last_activity_days"] + np.where(is_last, 7, 0),
    )


@pytest.fixture
def train(settings, monkeypatch):
    def trained(rows: pd.DataFrame, registry: pd.DataFrame = NO_REGISTRY, leaks: dict | None = None) -> Training:
        monkeypatch.setattr(training_module, "recounted_leaks", lambda *_: leaks or {})
        return _train(SUBJECT, "campus", SUBJECT.prepared(rows), settings, registry, NOW)

    return trained


def registered(training: Training, registry: pd.DataFrame = NO_REGISTRY) -> pd.DataFrame:
    return pd.concat([registry, pd.DataFrame(training.rows)], ignore_index=True)


def test_a_model_that_passes_every_check_becomes_champion(train):
    training = train(made_cohorts())
    assert not training.is_refused
    assert champion_of(registered(training), "campus", "not_retained")["decision"] == training.decision
    for result in checks.of_training({NAME: training.judgement}, []):
        assert result.passed, result.description


@pytest.mark.parametrize(
    ("spoil", "leaks", "check"),
    [
        (lambda rows: rows, {2: [], 6: ["click_count"]}, "at_risk_models_do_not_look_ahead"),
        (with_label_noise, None, "at_risk_models_have_not_drifted"),
        (with_a_shifted_cohort, None, "at_risk_models_have_not_drifted"),
    ],
    ids=["leak", "label noise", "shifted cohort"],
)
def test_a_model_that_fails_a_check_is_registered_and_does_not_score(train, spoil, leaks, check):
    training = train(spoil(made_cohorts(learners=600)), leaks=leaks)  # of fewer than 500 drift is not judged
    assert check in training.judgement.refusals
    registry = registered(training)
    assert not registry["is_champion"].any()
    assert registry["decision"].str.contains("refused, nobody is scored").all()
    assert champion_of(registry, "campus", "not_retained") is None
    results = {x.check_name: x for x in checks.of_training({NAME: training.judgement}, [NAME])}
    assert (results[check].passed, results[check].severity) == (False, ERROR)
    assert "nobody is scored" in results[check].description


def test_a_former_champion_keeps_scoring_when_the_next_one_is_refused(train):
    former = registered(train(made_cohorts()))
    former["trained_at"] = NOW - timedelta(days=30)
    training = train(made_cohorts(), former, leaks={2: ["click_count"]})
    registry = registered(training, former)
    kept = champion_of(registry, "campus", "not_retained")
    assert kept["trained_at"] == NOW - timedelta(days=30)
    assert f"model {kept['model_version']} keeps scoring" in training.decision
    (found,) = (
        x for x in checks.of_training({NAME: training.judgement}, []) if x.check_name.endswith("do_not_look_ahead")
    )
    assert (found.passed, found.severity) == (False, WARN)
    # Not every day anew.
    evidence = pd.DataFrame({"source": ["campus"], "outcome": ["not_retained"]})
    terms = ["2020-09", "2021-09", "2022-09"]
    next_day = _why_not(SUBJECT, terms, registry, "campus", evidence, NOW + timedelta(days=1))
    assert "keeps scoring" in next_day
    assert _why_not(SUBJECT, terms, registry, "campus", evidence, NOW + timedelta(days=8)) is None


def test_a_champion_whose_files_an_earlier_version_wrote_is_none(run_training, settings, monkeypatch):
    """It is trained anew though no cohort has matured, and what is trained replaces it even where it is refused."""
    first = run_training()
    monkeypatch.setattr(training_module, "is_readable", lambda *_: False)
    seen = []

    def train_and_tell(subject, source, matured, settings, registry, now) -> Training:
        seen.append(champion_of(registry, source, subject.name))
        return trained_at_once(subject, source, matured, settings, registry, now)

    monkeypatch.setattr(training_module, "_train", train_and_tell)
    assert len(run_training()) == len(first) + 1
    assert seen == [None]


def test_files_that_an_earlier_version_wrote_are_not_read(train, settings):
    registry = registered(train(made_cohorts()))
    (version,) = registry.loc[registry["is_champion"], "model_version"]
    assert is_readable(settings, version)
    file = settings.models_dir / f"{version}.json"
    file.write_text(file.read_text().replace('"level":', '"early":'))
    assert not is_readable(settings, version)
    with pytest.raises(ValueError, match="of another version of this program"):
        load_scorer(settings, version)


def test_shares_of_a_programs_team_are_its_own_and_no_percent(monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_AT_RISK_CAPACITY", '{"campus:p": [0.05, 0.1]}')
    frame = pd.DataFrame({"program_key": ["campus:p", "campus:q", None]})
    assert call_shares(frame, Settings()).tolist() == [[0.05, 0.1], [0.1, 0.15], [0.1, 0.15]]
    monkeypatch.setenv("LEARNING_WAREHOUSE_AT_RISK_CAPACITY", '{"campus:p": [5, 10]}')
    with pytest.raises(ValueError, match="less than 1"):
        Settings()


def trained_at_once(subject, source, matured, settings, registry, now) -> Training:
    """One champion and one row of evidence, without the work."""
    row = {"model_version": f"{now:%S%f}", "source": source, "outcome": subject.name, "model": "lightgbm"}
    row |= {
        "is_champion": True,
        "trained_at": now,
        "first_cohort": "2020-09",
        "last_cohort": matured.frame["term"].max(),
    }
    row |= {"row_count": 9, "learner_count": 9, "features": "[]", "metrics": "[]", "file": "x", "decision": "fine"}
    names = [column.name for column in CONTRACTS["analytics.at_risk_backtest"].columns]
    shown = dict.fromkeys(names, 0.5) | {"split": "2021-09", "week_number": 2, "model": "lightgbm", "n": 9}
    shown |= {"is_champion": True, "n_positive": 3, "n_positive_train": 3, "n_train": 9}
    evidence = Backtest(pd.DataFrame([shown]), *[pd.DataFrame()] * 5, winner="lightgbm", decision="fine")
    return Training([row], evidence, Judgement(pd.DataFrame()), None, "fine")


@pytest.fixture
def run_training(settings, monkeypatch):
    """A run of the asset on the made cohorts, with a training that only says that it was one; returns the registry."""
    rows = SUBJECT.prepared(made_cohorts(2))
    made = {"read_matured": lambda *_: rows, "matured_terms": lambda *_: ["2020-09", "2021-09"]}
    subject = type("Made", (Subject,), made)
    monkeypatch.setattr(training_module, "SUBJECTS", [subject(**vars(SUBJECT))])
    monkeypatch.setattr(training_module, "sources_of", lambda *_: ["campus"])
    monkeypatch.setattr(training_module, "_train", trained_at_once)
    monkeypatch.setattr(training_module, "is_readable", lambda *_: True)
    store = Warehouse(settings)
    store.restore([CONTRACTS[f"analytics.at_risk_{table}"] for table in TRAINING_TABLES])

    def run() -> pd.DataFrame:
        assert dg.materialize([assets.at_risk_training], resources={"warehouse": WarehouseResource()}).success
        return store.read("analytics.at_risk_models")

    return run


def test_a_training_that_a_suite_refused_is_done_anew_by_the_next_run(run_training, settings):
    first = run_training()
    assert first["is_champion"].sum() == 1
    assert len(run_training()) == len(first)  # not due
    record(settings, {"analytics.at_risk_backtest": [finding("analytics.at_risk_backtest", unexpected_count=9)]})
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("update analytics.at_risk_backtest set auc = 7")
    anew = run_training()
    assert len(anew) == len(first)
    assert anew["trained_at"].min() > first["trained_at"].max()  # nobody saw the refused ones: they are set aside
    assert Warehouse(settings).read("analytics.at_risk_backtest")["auc"].max() <= 1
    assert list(settings.artifacts_dir.glob("append_only/analytics.at_risk_models.refused/*.parquet"))


def test_a_training_that_a_suite_refused_scores_nobody_after_the_build_database_was_deleted(run_training, settings):
    """The registry outlives the database: what was refused in it must not come back as the champion."""
    first = run_training()
    record(settings, {"analytics.at_risk_backtest": [finding("analytics.at_risk_backtest", unexpected_count=9)]})
    settings.build_database.unlink()
    contracts = [CONTRACTS[f"analytics.at_risk_{table}"] for table in TRAINING_TABLES]
    Warehouse(settings).restore([*contracts, contract()])  # as the build of marts does
    anew = run_training()
    assert anew["trained_at"].min() > first["trained_at"].max()
    assert list(settings.artifacts_dir.glob("append_only/analytics.at_risk_models.refused/*.parquet"))


def judgement(**of_last) -> Judgement:
    """A champion and the rule in week 8 of two cohorts, fine but for what is said of the last (first_…: of the first).

    A thousand learners of whom 300 came; one cohort was earlier, so .05 beyond chance is the limit.
    """
    fine = {"n": 1000, "n_positive": 300, "base_rate": 0.3, "earlier_cohorts": 1, "week_number": 8, "auc": 0.7}
    fine |= {"calibration_error": 0.03, "calibration_error_levelled": 0.03, "calibration_error_by_chance": 0.02}
    fine |= {"calibration_error_most_by_chance": 0.03, "calibration_slope": 1.0, "calibration_slope_error": 0.1}
    fine |= {"groups": 10, "groups_in_interval": 9, "n_called": 100, "called_precision": 0.7, "called_lift": 2.3}
    fine |= {"auc_foretold": 0.7, "is_champion": True, "model": "lightgbm"}
    of_first = {name.removeprefix("first_"): value for name, value in of_last.items() if name.startswith("first_")}
    of_last = {name: value for name, value in of_last.items() if not name.startswith("first_")}
    lines = [fine | {"split": "2020-09"} | of_first, fine | {"split": "2021-09"} | of_last]
    rule = {"auc": 0.6, "is_champion": False, "model": "seven_day_rule"}
    return Judgement(pd.DataFrame([*lines, *(line | rule for line in lines)]))


@pytest.mark.parametrize(
    ("wrong", "check", "told"),
    [
        (judgement(auc=0.55, auc_foretold=0.55), "at_risk_models_beat_the_rule", "0.550"),
        (judgement(auc=float("nan"), auc_foretold=0.5), "at_risk_models_beat_the_rule", "nan"),
        (
            judgement(calibration_error_levelled=0.08),
            "at_risk_models_are_calibrated",
            "2021-09: calibration error 0.080",
        ),
        (judgement(first_calibration_error_levelled=0.08), "at_risk_models_are_calibrated", "2020-09"),
        (
            judgement(earlier_cohorts=3, calibration_error_levelled=0.06),
            "at_risk_models_are_calibrated",
            "limit 0.03",
        ),
        (judgement(first_calibration_slope=2.0), "at_risk_models_are_calibrated", "2020-09: slope 2.00"),
        (judgement(calibration_slope=0.4), "at_risk_models_are_calibrated", "2021-09: slope 0.40"),
        (judgement(first_groups_in_interval=8), "at_risk_intervals_hold", "2020-09: intervals hold in 80% of 10"),
        (judgement(called_lift=1.5, called_precision=0.45), "at_risk_calls_are_worth_it", "2021-09"),
    ],
)
def test_a_champion_that_fails_on_any_cohort_is_refused_with_the_cohorts_name_and_warns_daily(wrong, check, told):
    assert not judgement().refusals
    assert list(wrong.refusals) == [check]
    assert told in wrong.refusals[check]
    daily = {x.check_name: x for x in checks.of_training({NAME: wrong}, [])}[check]
    assert (daily.passed, daily.severity) == (False, WARN)


@pytest.mark.parametrize(
    "fine",
    [
        judgement(calibration_error_levelled=0.065),  # .045 beyond chance
        judgement(week_number=5, calibration_error_levelled=0.2),  # nothing tells the level before week 6
        judgement(calibration_error_levelled=0.12, calibration_error_most_by_chance=0.13),  # so few learners
        judgement(calibration_slope=0.6, calibration_slope_error=0.1),
        judgement(groups=1, groups_in_interval=0),  # one group tells nothing
        judgement(base_rate=0.6, called_lift=1.26, called_precision=0.75),  # three in four
        judgement(n_called=float("nan"), called_lift=float("nan")),
    ],
)
def test_what_is_within_the_limits_is_not_refused(fine):
    assert not fine.refusals


def test_a_level_that_was_missed_is_told_and_the_intervals_answer_for_it():
    found = checks.of_training({NAME: judgement(calibration_error=0.12)}, [])
    told = {x.check_name: x for x in found}["at_risk_models_are_calibrated"]
    assert told.passed
    of_cohort = told.metadata["found"].value[NAME]["2021-09"]
    assert (of_cohort["error"], of_cohort["is reached"], of_cohort["n"]) == (0.12, False, 1000)


def test_what_could_not_be_judged_is_not_refused():
    assert not Judgement(pd.DataFrame(), {}, None).refusals


@pytest.mark.parametrize("keys", [["a"], ["a", "b", "b"], []])
def test_a_learner_left_out_or_scored_twice_blocks(keys):
    scores = pd.DataFrame({"enrollment_key": ["a", "b"]}).assign(source="campus", outcome="not_retained")
    assert checks.every_learner_once({NAME: 2}, scores).passed
    wrong = pd.DataFrame({"enrollment_key": keys}).assign(source="campus", outcome="not_retained")
    found = checks.every_learner_once({NAME: 2}, wrong)
    assert (found.passed, found.severity) == (False, ERROR)


def test_contributions_that_do_not_add_up_block():
    assert checks.adds_up({NAME: 1e-14}).passed
    for gap in (1e-6, float("nan")):
        assert checks.adds_up({NAME: gap}).severity == ERROR


@pytest.mark.parametrize(
    ("psi", "passed"),
    [
        ({"score": 0.2, "click_count": 0.2}, True),
        ({"score": 0.3, "click_count": 0.0}, False),
        # A feature that hardly moves the score may drift; several that do, together, may not.
        ({"score": 0.1, "country": 0.9}, True),
        ({"score": 0.1, "click_count": 0.3, "active_days": 0.3}, False),
    ],
)
def test_drift_of_the_score_or_of_what_moves_it_warns_daily_and_blocks_a_new_model(psi, passed):
    importance = {"click_count": 0.2, "active_days": 0.2, "country": 0.05}
    table = pd.DataFrame({"feature": list(psi), "psi": list(psi.values())})
    table = table.assign(level=np.where(table["psi"] > 0.25, "block", "fine"), source="campus", outcome="not_retained")
    table["importance"] = table["feature"].map(importance)
    assert checks.has_not_drifted(table, []).passed is passed
    assert checks.has_not_drifted(table, [NAME]).severity == (WARN if passed else ERROR)


def test_a_random_share_of_learners_is_held_out_and_stays_so(settings, monkeypatch):
    rows = made_cohorts(terms=2)
    scorer = fit_scorer(draw_training_rows(SUBJECT.prepared(rows), "y", COLUMNS), settings={"rounds": 5})
    active = rows.assign(source="campus", is_latest=True, as_of_on=NOW, age=30)
    monkeypatch.setenv("LEARNING_WAREHOUSE_AT_RISK_HOLDOUT_SHARE", "0.2")
    found = [_score(SUBJECT, "campus", active, [], scorer, Settings(), NOW)[0] for _ in range(2)]
    assert found[0]["is_held_out"].equals(found[1]["is_held_out"])
    assert found[0].groupby("learner_key")["is_held_out"].nunique().eq(1).all()
    assert found[0]["is_held_out"].mean() == pytest.approx(0.2, abs=0.05)
    monkeypatch.delenv("LEARNING_WAREHOUSE_AT_RISK_HOLDOUT_SHARE")
    assert not _score(SUBJECT, "campus", active, [], scorer, Settings(), NOW)[0]["is_held_out"].any()


def test_a_score_tells_what_happens_without_contact():
    rows = pd.DataFrame({"contact_channel": ["phone", "none", None]})
    assert list(_uncontacted(rows)["contact_channel"]) == ["none"] * 3


def test_the_newest_champion_scores_unless_a_version_is_pinned(settings, monkeypatch):
    registry = pd.DataFrame(
        {
            "model_version": ["old", "new", "challenger"],
            "trained_at": pd.to_datetime(["2025-01-01", "2025-02-01", "2025-03-01"]),
            "is_champion": [True, True, False],
            "file": ["old", "new", "challenger"],
        }
    ).assign(source="campus", outcome="not_retained")
    assert champion_of(registry, "campus", "not_retained")["model_version"] == "new"
    assert champion_of(registry, "oulad", "not_retained") is None
    monkeypatch.setenv("LEARNING_WAREHOUSE_AT_RISK_PINNED_MODELS", "other, old")
    pinned = pinned_version(Settings(), registry, "campus", "not_retained")
    assert champion_of(registry, "campus", "not_retained", pinned)["model_version"] == "old"
    # Of several the newest, in whatever order the registry's rows come.
    monkeypatch.setenv("LEARNING_WAREHOUSE_AT_RISK_PINNED_MODELS", "old, challenger")
    for rows in (registry, registry.iloc[::-1]):
        assert pinned_version(Settings(), rows, "campus", "not_retained") == "challenger"


def test_a_model_whose_file_was_changed_is_refused(settings):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"click_count": rng.poisson(10, 400), "week_number": 3, "offering": rng.choice(["a", "b"], 400)}
    )
    rows = rows.assign(
        learner_key=np.arange(400), term="2020-09", start_month="9", course_key="c", withdrawal_day=np.nan
    )
    rows["y"] = (rng.random(400) < 1 / rows["click_count"].clip(lower=2)).astype(int)
    columns = Columns("offering", "learner_key")
    rows = prepare(rows, [Feature("click_count", "study_time", direction=-1)], columns.cohort)
    scorer = fit_scorer(draw_training_rows(rows, "y", columns), settings={"rounds": 5})
    save_scorer(settings, scorer, reference_of(scorer, rows))
    assert load_reference(settings, scorer.version) == reference_of(scorer, rows)
    pd.testing.assert_frame_equal(load_scorer(settings, scorer.version).score(rows), scorer.score(rows))
    file = settings.models_dir / f"{scorer.version}.json"
    file.write_text(file.read_text().replace('"slope": ', '"slope": 1'))
    with pytest.raises(ValueError, match="have changed"):
        load_scorer(settings, scorer.version)


WEEKLY = Subject(
    name="not_retained",
    features=SUBJECT.features,
    subgroups=("gender",),
    rows="marts.weeks",
    mart="marts.weeks",
    ends="marts.weeks",
    key="enrollment_key",
    active="select count(*) from marts.weeks where source = {source} and y is null and week_number = 6",
)
AT_RISK = [f"analytics.at_risk_{table}" for table in (*TRAINING_TABLES, *SCORING_TABLES)]


def made_weeks() -> pd.DataFrame:
    """Three matured cohorts and one that runs, weeks 2 to 6, as a subject's query gives them; a tenth leave."""
    rows = made_cohorts(terms=4, learners=500)
    rows = pd.concat([rows, rows[rows["week_number"] == 4].assign(week_number=6)], ignore_index=True)
    number = rows["learner_key"].str.split("-").str[-1].astype(int)
    rows["withdrawal_day"] = np.where((rows["y"] == 1) & (number % 4 == 0), 35.0, np.nan)
    rows = rows[~(rows["withdrawal_day"] < 7 * rows["week_number"])]
    rows["gender"] = np.where(rows["learner_key"].str.len() % 2, "female", "male")
    rows["as_of_on"] = rows["starts_on"] + pd.to_timedelta(7 * rows["week_number"], unit="D")
    rows["y"] = rows["y"].where(rows["term"] != rows["term"].max()).astype("Int64")
    return rows.assign(source="campus")


def build(home: Path, weeks: pd.DataFrame, salt: int = 0) -> None:
    home.mkdir()
    with duckdb.connect(home / "build.duckdb") as connection:
        connection.register("weeks", weeks)
        connection.execute(f"""
            create schema core; create schema marts;
            create table core.dim_source as select 'campus' as source, max(as_of_on)::date as last_data_on from weeks;
            create table marts.weeks as from weeks order by hash(enrollment_key, week_number, {salt});
        """)


def test_another_key_another_order_and_more_threads_change_no_score_and_no_figure(tmp_path, monkeypatch):
    """A learner is called backwards in the second warehouse, as another secret key would call them."""
    for module in (training_module, scoring_module):
        monkeypatch.setattr(module, "SUBJECTS", (WEEKLY,))
    monkeypatch.setattr(training_module, "recounted_leaks", lambda *_: {})
    monkeypatch.delitem(MODELS, HistogramTrees.kind)  # the yardstick: it cannot score, and costs most of the time
    weeks = made_weeks()
    backwards = {key: weeks[key].str[::-1] for key in ("learner_key", "enrollment_key")}
    homes = [tmp_path / "first", tmp_path / "second"]
    for salt, (home, rows) in enumerate(zip(homes, (weeks, weeks.assign(**backwards)), strict=True)):
        build(home, rows, salt)
        monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(home))
        monkeypatch.setenv("LEARNING_WAREHOUSE_THREADS", str(1 + 3 * salt))
        Warehouse(Settings()).restore([CONTRACTS[table] for table in AT_RISK])
        result = dg.materialize(
            [assets.at_risk_training, assets.at_risk_scoring], resources={"warehouse": WarehouseResource()}
        )
        assert result.success
    counts = Warehouse(Settings()).row_counts(AT_RISK)
    assert all(counts[table] for table in AT_RISK), counts
    with duckdb.connect() as connection:
        for name, home in zip("ab", homes, strict=True):
            connection.execute(f"attach '{home / 'build.duckdb'}' as {name} (read_only)")
        different = {}
        # Of learners of whom all is the same, the choice whom to call is free.
        free = ("call_place", "band")
        for table in AT_RISK:
            left_out = [*WALL_CLOCK_COLUMNS.get(table, ()), *(free if table == "analytics.at_risk_scores" else ())]
            columns = f"* exclude ({', '.join(left_out)})" if left_out else "*"
            names = {column.name for column in CONTRACTS[table].columns}
            renamed = ", ".join(f"reverse({key}) as {key}" for key in backwards if key in names)
            (a, b) = (f"select {columns} from {name}.{table}" for name in "ab")
            b = f"select * replace ({renamed}) from ({b})" if renamed else b
            rows = f"(({a}) except all ({b})) union all (({b}) except all ({a}))"
            ((different[table],),) = connection.execute(f"select count(*) from ({rows})").fetchall()
        assert different == dict.fromkeys(AT_RISK, 0)
        (a, b) = (f"select peer_group, probability, {', '.join(free)} from {x}.analytics.at_risk_scores" for x in "ab")
        assert connection.execute(f"select count(*) from ({a} except all ({b}))").fetchone() == (0,)
        level = "select count(distinct probability) from a.analytics.at_risk_scores"
        assert connection.execute(level).fetchone()[0] > 50
    champion = champion_of(Warehouse(Settings()).read("analytics.at_risk_models"), "campus", "not_retained")
    assert load_scorer(Settings(), champion["model_version"]).leaving is not None  # the level is told, too


def test_a_row_has_the_same_features_when_it_trains_and_when_it_is_scored(tmp_path, monkeypatch):
    weeks = made_weeks()
    last = weeks["term"] == weeks["term"].max()
    build(tmp_path / "now", weeks)
    build(tmp_path / "later", weeks.assign(y=weeks["y"].where(~last, 1)))
    subject = replace(WEEKLY, features=(*WEEKLY.features, Feature("click_count", "study_time", "rank", -1)))

    def features(rows: Rows) -> pd.DataFrame:
        table = pd.DataFrame(rows.matrix, columns=[feature.name for feature in rows.features])
        return table.assign(key=rows.frame["enrollment_key"], week=rows.frame["week_number"]).set_index(["key", "week"])

    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path / "now"))
    scored = features(subject.prepared(read_active(subject, Warehouse(Settings()), "campus"))).sort_index()
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path / "later"))
    trained = features(subject.read_matured(Warehouse(Settings()), "campus"))
    assert len(scored) > 400
    pd.testing.assert_frame_equal(scored, trained.loc[scored.index], check_exact=True)
