"""Many-facet Rasch: severities worked out by hand, against conditional likelihood, and withheld where nothing tells."""

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response.facets import agreement, fit_facets


def passed_by_both(counts: dict[str, tuple[int, int, int, int]], kinds=("staff", "peer")) -> pd.DataFrame:
    """Pass or fail by two kinds: how many hand-ins passed with both, the first only, the second only, neither."""
    rows = []
    for item, numbers in counts.items():
        marks = [pair for pair, n in zip([(1, 1), (1, 0), (0, 1), (0, 0)], numbers, strict=True) for _ in range(n)]
        for learner, pair in enumerate(marks):
            rows += [
                {"learner": f"{item}{learner}", "hand_in": f"{item}{learner}", "item": item, "kind": kind, "share": x}
                for kind, x in zip(kinds, pair, strict=True)
            ]
    return pd.DataFrame(rows).assign(steps=1)


def columns(frame: pd.DataFrame) -> dict:
    return {name: frame[name].to_numpy() for name in frame}


def kind_row(fit, kind: str) -> pd.Series:
    rows = fit.severities
    return rows[(rows["kind"] == kind) & rows["grader"].isna() & rows["period"].isna()].iloc[0]


def test_severity_of_two_kinds_is_the_odds_of_those_they_disagree_on():
    # Of 200 hand-ins 60 passed with staff only and 20 with peers only, three to one in either item. Whatever their
    # quality, the odds between the two are those of the severities: log 3 = 1.0986, error √(1/60 + 1/20) = .258.
    # Staff passed 60 % and peers 40 %: 20 points fewer.
    marks = passed_by_both({"A": (40, 30, 10, 20), "B": (20, 30, 10, 40)})
    fit = fit_facets(**columns(marks), reference="staff")
    peer = kind_row(fit, "peer")
    assert fit.converged
    assert peer["severity"] == pytest.approx(np.log(3), abs=0.03)
    assert peer["std_error"] == pytest.approx(0.258, rel=0.08)
    assert peer["points"] == pytest.approx(20, abs=0.3)
    assert kind_row(fit, "staff")["severity"] == 0
    low, high = fit.conf_int().set_index("kind").loc["peer", ["low", "high"]]
    assert low < np.log(3) < high
    assert "peer" in fit.summary()


def test_severity_is_that_of_the_conditional_likelihood_and_not_of_the_joint_one():
    # 300 learners, 6 pass-or-fail items, each hand-in marked once, by a kind drawn by lot. Conditional on a learner's
    # sum nothing of the learner is left: the reference. With a dummy a learner, severities are too large, by some 6/5.
    from statsmodels.discrete.conditional_models import ConditionalLogit
    from statsmodels.discrete.discrete_model import Logit

    rng = np.random.default_rng(5)
    learners, items = 300, 6
    learner, item = np.repeat(np.arange(learners), items), np.tile(np.arange(items), learners)
    peer = rng.random(len(learner)) < 0.5
    quality = rng.normal(0, 1.2, learners)[learner] - np.linspace(-1, 1, items)[item] - 0.8 * peer
    share = (rng.random(len(learner)) < 1 / (1 + np.exp(-quality))).astype(float)
    design = np.column_stack([-1.0 * peer, *(-1.0 * (item == i) for i in range(1, items))])
    reference = ConditionalLogit(share, design, groups=learner).fit(disp=0)
    mixed = np.isin(pd.Series(share).groupby(learner).transform("mean"), (0, 1), invert=True)
    dummies = pd.get_dummies(learner[mixed], dtype=float).to_numpy()
    joint = Logit(share[mixed], np.column_stack([design[mixed], dummies])).fit(disp=0, maxiter=100)

    kind = np.where(peer, "peer", "staff")
    fit = fit_facets(
        learner, np.arange(len(learner)), item, kind, share, steps=np.ones(len(learner)), reference="staff"
    )
    found = kind_row(fit, "peer")
    assert found["severity"] == pytest.approx(reference.params[0], abs=0.4 * reference.bse[0])
    assert found["std_error"] == pytest.approx(reference.bse[0], rel=0.08)
    assert joint.params[0] > 1.12 * reference.params[0]


def test_where_no_item_has_both_kinds_severity_is_withheld():
    # Every learner has grades of both kinds, and yet peers may be severe or their items hard.
    rng = np.random.default_rng(1)
    learner = np.repeat(np.arange(60), 4)
    item = np.tile(["s1", "s2", "p1", "p2"], 60)
    share = np.round(rng.uniform(0.3, 1, 240), 1)
    kind = np.where(np.char.startswith(item.astype(str), "s"), "staff", "peer")
    fit = fit_facets(learner, np.arange(240), item, kind, share, reference="staff")
    row = kind_row(fit, "peer")
    assert np.isnan(row["severity"])
    assert np.isnan(row["points"])
    assert row["reason"].startswith("No item has grades by both peer and staff")
    assert fit.adjusted().empty


def test_learners_with_one_grade_link_nothing():
    # 50 were graded by staff and 50 others by peers: those may have been the abler ones.
    learner = np.arange(100)
    share = np.random.default_rng(2).integers(4, 10, 100) / 10
    kind = np.repeat(["staff", "peer"], 50)
    fit = fit_facets(learner, learner, np.full(100, "essay"), kind, share, reference="staff")
    assert "of learners with other grades" in kind_row(fit, "peer")["reason"]


def test_a_period_without_common_items_is_withheld_alone():
    marks = passed_by_both({"A": (40, 30, 10, 20)}).assign(period=2023.5)
    later = marks[marks["kind"] == "peer"].assign(period=2024.0)
    later["learner"], later["hand_in"], later["item"] = "n" + later["learner"], "n" + later["hand_in"], "B"
    fit = fit_facets(**columns(pd.concat([marks, later])), reference="staff")
    rows = fit.severities[fit.severities["kind"] == "peer"].set_index("period")
    assert rows.loc[2023.5, "severity"] == pytest.approx(np.log(3), abs=0.1)
    assert np.isnan(rows.loc[2024.0, "severity"])
    assert "in this period" in rows.loc[2024.0, "reason"]


def simulated(seed: int, *, selective: bool = False) -> dict[str, np.ndarray]:
    """600 learners at 12 of 40 items in tenths; peers at half of them, and staff mark a part again."""
    rng = np.random.default_rng(seed)
    learner = np.repeat(np.arange(600), 12)
    item = np.concatenate([rng.choice(40, 12, replace=False) for _ in range(600)])
    quality = rng.normal(0, 0.8, 600)[learner] + rng.normal(0, 1.2, len(learner)) - rng.normal(-1, 1, 40)[item]
    period = rng.integers(0, 4, len(learner))
    steps = np.concatenate([[0], np.cumsum(np.linspace(-6, 6, 10))])

    def mark(which: np.ndarray, is_peer: np.ndarray) -> np.ndarray:
        severity = is_peer * (-1.0 + 0.4 * (period[which] - 1.5))
        value = np.arange(11) * (quality[which] - severity)[:, None] - steps
        return (value + rng.gumbel(size=value.shape)).argmax(axis=1)

    everyone, by_peer = np.arange(len(learner)), item >= 20
    first = mark(everyone, by_peer)
    chance = np.where(first <= 4, 0.6, 0.1) if selective else np.full(len(learner), 0.25)
    again = np.flatnonzero(by_peer & (rng.random(len(learner)) < chance))
    which = np.concatenate([everyone, again])
    is_peer = np.concatenate([by_peer, np.zeros(len(again), bool)])
    return {
        "learner": learner[which],
        "hand_in": which,
        "item": item[which],
        "kind": np.where(is_peer, "peer", "staff"),
        "share": np.concatenate([first, mark(again, np.zeros(len(again), bool))]) / 10,
        "period": 2022 + period[which] / 2,
    }


def test_second_marks_asked_for_by_the_look_of_the_first_do_no_harm():
    # Poor marks are marked again: by chance they were too low, so that the second is higher, and peers look severe.
    marks = simulated(3, selective=True)
    fit = fit_facets(**marks, reference="staff")
    peer = kind_row(fit, "peer")
    assert abs(peer["severity"] + 1) < 2 * peer["std_error"]
    named = {name: marks[name] for name in ("hand_in", "item", "learner", "kind", "share")}
    by_eye = agreement(**named).iloc[0]
    # Planted: one logit, about 7.5 points more by peers.
    assert by_eye["mean_difference"] < 4.5
    assert -peer["points"] == pytest.approx(7.3, abs=1.2)


def test_drift_is_the_change_of_points_a_year():
    peer = kind_row(fit_facets(**simulated(4), reference="staff"), "peer")
    # .8 logits a year, at some 7.4 points a logit.
    assert peer["drift"] == pytest.approx(5.9, abs=2 * peer["drift_error"])
    assert peer["drift_error"] < 1


def test_adjusted_grades_depend_on_the_mark_alone():
    marks = simulated(5)
    fit = fit_facets(**marks, reference="staff")
    found = fit.adjusted().set_index("hand_in")
    rows = pd.DataFrame(marks)
    once = rows.groupby("hand_in").filter(lambda x: len(x) == 1)
    peers = once[once["kind"] == "peer"].assign(adjusted=lambda x: x["hand_in"].map(found["adjusted"]))
    # One mark, one period: one adjusted grade. Peers are milder: it is lower, but for those who failed altogether.
    assert peers.groupby(["share", "period"])["adjusted"].agg(np.ptp).max() < 1e-9
    middle = peers[peers["share"].between(0.3, 0.7)]
    assert (100 * middle["share"] - middle["adjusted"]).mean() == pytest.approx(-kind_row(fit, "peer")["points"], abs=1)
    assert found["adjusted"].between(0, 100).all()
    assert found["std_error"].between(0.5, 15).all()
    assert not once[once["kind"] == "staff"]["hand_in"].isin(found.index).any()


def test_partial_credit_has_thresholds_of_its_own_scale():
    marks = simulated(6)
    coarse = marks["item"] % 2 == 0
    marks["steps"] = np.where(coarse, 4, 10)
    marks["share"] = np.where(coarse, np.rint(4 * marks["share"]) / 4, marks["share"])
    fit = fit_facets(**marks, reference="staff")
    assert set(fit.thresholds["steps"]) == {4, 10}
    assert kind_row(fit, "peer")["points"] == pytest.approx(-7.4, abs=1.5)


def test_many_marks_begin_with_a_part_of_the_learners(monkeypatch):
    from dagster_project.stats.item_response import facet_model

    marks = simulated(7)
    whole = kind_row(fit_facets(**marks, reference="staff"), "peer")
    monkeypatch.setattr(facet_model, "MARKS_TO_BEGIN_WITH", 2000)
    begun = kind_row(fit_facets(**marks, reference="staff"), "peer")
    assert begun["severity"] == pytest.approx(whole["severity"], abs=0.1 * whole["std_error"])


def test_agreement_is_that_of_hand_ins_with_both_kinds():
    # Three learners: staff .5 .7 .9, peers .6 .7 1: peers 10, 0, 10 points more. r = .98; in tenths, mean square 2/3;
    # independent: (25 + 49 + 81)/3 + (36 + 49 + 100)/3 − 2 · 7 · 23/3 = 6; kappa = 1 − (2/3)/6 = 8/9.
    rows = pd.DataFrame(
        {
            "hand_in": list("aabbccd"),
            "item": "e",
            "learner": list("aabbccd"),
            "kind": ["staff", "peer"] * 3 + ["peer"],
            "share": [0.5, 0.6, 0.7, 0.7, 0.9, 1.0, 0.1],
        }
    )
    row = agreement(**columns(rows), fewest=3).iloc[0]
    assert (row["kind"], row["other_kind"], row["hand_in_count"]) == ("peer", "staff", 3)
    assert row["mean_difference"] == pytest.approx(20 / 3)
    # Deviations 10/3, −20/3, 10/3: √(66.7 · 3/2) / 3.
    assert row["std_error"] == pytest.approx(10 / 3)
    assert row["weighted_kappa"] == pytest.approx(8 / 9)
    assert row["correlation"] == pytest.approx(np.corrcoef([5, 7, 9], [6, 7, 10])[0, 1])
    small = agreement(**columns(rows)).iloc[0]
    assert np.isnan(small["mean_difference"])
    assert small["reason"].startswith("3 learners have a hand-in that both peer and staff graded")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"share": [0.5, 1.5]}, "share 1.5 at 1; expected a share of the best mark"),
        ({"item": ["a", "b"]}, "has marks of several items"),
        ({"learner": ["a", "b"]}, "has marks of several learners"),
        ({"steps": [4, 40]}, "steps 40 at 1; expected 1 to 10"),
        ({"kind": ["staff"]}, "kind has 1 elements, share has 2"),
    ],
)
def test_unusable_marks_are_refused_with_the_first_offending_value(changed, message):
    marks = {"learner": ["a", "a"], "hand_in": ["h", "h"], "item": ["i", "i"], "kind": ["staff", "peer"]}
    with pytest.raises(ValueError, match=message):
        fit_facets(**(marks | {"share": [0.5, 0.6]} | changed))
