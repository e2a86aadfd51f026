"""Calibration and scoring: what a caller may rely on, against brute force where it can be computed."""

import warnings

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response import kernels
from dagster_project.stats.item_response.bank import ItemBank, log_probability_table
from dagster_project.stats.item_response.calibration import Prior, calibrate, calibrate_new_items
from dagster_project.stats.item_response.quadrature import Grid, QuadratureError
from dagster_project.stats.item_response.scoring import ItemReport, read_responses, score
from tests.item_simulation import simulate


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(1)
    return simulate(rng, rng.standard_normal(600), 15, missing=0.3)


@pytest.fixture(scope="module")
def bank(answers):
    return calibrate(*answers.long)


def dense_log_likelihood(slope, steps, mean, sd, person, item, response, group, limit):
    """Marginal log likelihood with plain numpy; persons in ascending order."""
    node = np.arange(-limit, limit + 0.1, 0.2)
    reached = 1 / (1 + np.exp(-(slope[:, None, None] * node + steps[:, :, None])))
    edge = np.ones((len(slope), 1, len(node)))
    log_p = np.log(-np.diff(np.concatenate([edge, reached, 0 * edge], axis=1), axis=1))
    total = np.add.reduceat(log_p[item, response], np.flatnonzero(np.diff(person, prepend=-1)))
    prior = np.exp(-0.5 * ((node - mean[group][:, None]) / sd[group][:, None]) ** 2)
    prior /= prior.sum(axis=1, keepdims=True)
    return np.log((np.exp(total) * prior).sum(axis=1)).sum()


@pytest.mark.parametrize("model", ["2pl", "rasch", "graded"])
def test_likelihood_maximum_and_standard_errors_equal_brute_force(model):
    rng = np.random.default_rng(3)
    group = (np.arange(220) % 2).astype(int)
    # Every person answers the first item, so that nobody is without an answer.
    observed = (rng.random((220, 6)) > 0.15) | (np.arange(6) == 0)
    data = simulate(
        rng, rng.standard_normal(220) + 0.5 * group, 6, observed=observed, steps=3 if model == "graded" else 1
    )
    bank = calibrate(*data.long, model=model, group=group[data.person])
    names = [c for c in bank.items if c.startswith("intercept") and not c.endswith("_se")]
    free_slope, free_sd = model != "rasch", [model == "rasch", True]
    estimates = [bank.items["slope"].to_numpy()] * free_slope + [bank.items[names].to_numpy().ravel()]
    x = np.concatenate([*estimates, [bank.groups["mean"][1]], bank.groups["sd"].to_numpy()[free_sd]])

    def log_likelihood(x):
        slope = x[:6] if free_slope else np.ones(6)
        at = 6 * free_slope
        steps = x[at : at + 6 * len(names)].reshape(6, -1)
        rest = x[at + 6 * len(names) :]
        sd = np.ones(2)
        sd[free_sd] = rest[1:]
        # Both Rasch sds are free, and a large one reaches beyond ±6.
        limit = 9.0 if model == "rasch" else 6.0
        return dense_log_likelihood(slope, steps, np.array([0.0, rest[0]]), sd, *data.long, group, limit)

    assert bank.log_likelihood == pytest.approx(log_likelihood(x), rel=1e-10)
    step = 1e-3
    n = len(x)
    unit = step * np.eye(n)
    hessian = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            corners = [log_likelihood(x + a * unit[i] + b * unit[j]) * a * b for a in (1, -1) for b in (1, -1)]
            hessian[i, j] = hessian[j, i] = sum(corners) / (4 * step**2)
    gradient = np.array([(log_likelihood(x + u) - log_likelihood(x - u)) / (2 * step) for u in unit])
    covariance = np.linalg.inv(-hessian)
    assert np.abs(covariance @ gradient / np.sqrt(covariance.diagonal())).max() < 5e-3
    errors = [bank.items["slope_se"].to_numpy()] * free_slope
    errors += [bank.items[[f"{name}_se" for name in names]].to_numpy().ravel()]
    errors += [[bank.groups["mean_se"][1]], bank.groups["sd_se"].to_numpy()[free_sd]]
    np.testing.assert_allclose(np.concatenate(errors), np.sqrt(covariance.diagonal()), rtol=0.01)


@pytest.mark.parametrize("answered", [8, 3])
def test_three_groups_stop_within_a_thousandth_of_a_standard_error(answered):
    """Numerical derivatives of the likelihood over all of ±12; the third group has one in 500 beyond 6."""
    rng = np.random.default_rng(5)
    group = np.arange(9000) % 3
    ability = np.array([0.0, 0.8, 1.6])[group] + np.array([1.0, 1.3, 1.5])[group] * rng.standard_normal(9000)
    observed = rng.random((9000, 8)).argsort(axis=1) < answered
    data = simulate(rng, ability, 8, observed=observed, difficulty=np.linspace(-1, 3, 8))
    bank = calibrate(*data.long, group=group[data.person])
    assert bank.converged

    # Persons of one group with the same answers are one row.
    answers = np.full((9000, 8), -1)
    answers[data.person, data.item] = data.response
    rows, times = np.unique(np.column_stack([group, answers]), axis=0, return_counts=True)
    node = np.linspace(-12, 12, 241)

    def log_likelihood(x):
        slope, intercept, mean, sd = x[:8], x[8:16], np.r_[0.0, x[16:18]], np.r_[1.0, x[18:]]
        logit = slope[:, None] * node + intercept[:, None]
        log_p = np.stack([-np.logaddexp(0, logit), -np.logaddexp(0, -logit), np.zeros_like(logit)])
        total = log_p[rows[:, 1:], np.arange(8)].sum(axis=1)
        z = (node - mean[:, None]) / sd[:, None]
        density = np.exp(-0.5 * z**2) / sd[:, None] / np.sqrt(2 * np.pi) * (node[1] - node[0])
        return times @ np.log((np.exp(total) * density[rows[:, 0]]).sum(axis=1))

    x, errors = (
        np.r_[
            bank.items[f"slope{se}"],
            bank.items[f"intercept{se}"],
            bank.groups[f"mean{se}"][1:],
            bank.groups[f"sd{se}"][1:],
        ]
        for se in ("", "_se")
    )
    unit = 2e-3 * np.eye(20)
    gradient = np.array([log_likelihood(x + u) - log_likelihood(x - u) for u in unit]) / 4e-3
    hessian = np.empty((20, 20))
    for i in range(20):
        for j in range(i + 1):
            corners = [log_likelihood(x + a * unit[i] + b * unit[j]) * a * b for a in (1, -1) for b in (1, -1)]
            hessian[i, j] = hessian[j, i] = sum(corners) / 1.6e-5
    covariance = np.linalg.inv(-hessian)
    assert np.abs(covariance @ gradient / np.sqrt(covariance.diagonal())).max() < 2e-3
    np.testing.assert_allclose(errors, np.sqrt(covariance.diagonal()), rtol=0.01)


def test_columns_are_those_of_the_contract(answers, bank):
    assert {"item", "slope", "intercept", "slope_se", "intercept_se", "n"} <= set(bank.items)
    assert {"group", "mean", "sd"} <= set(bank.groups)
    assert list(score(bank, *answers.long))[:3] == ["person", "ability", "std_error"]
    assert bank.converged
    assert 0 <= bank.log_likelihood_left < 1e-6


def test_order_and_kind_of_labels_do_not_matter(answers, bank):
    shuffled = np.random.default_rng(0).permutation(len(answers.person))
    names = pd.Series(answers.person[shuffled]).map("learner {:04d}".format)
    keys = pd.array([f"q{i:03d}" for i in answers.item[shuffled]], dtype="string")
    other = calibrate(names, keys, answers.response[shuffled].astype(float))
    assert other.log_likelihood == pytest.approx(bank.log_likelihood, rel=1e-9)
    np.testing.assert_allclose(other.items["slope"], bank.items["slope"], atol=1e-5)
    first = score(other, names, keys, answers.response[shuffled])
    np.testing.assert_allclose(first["ability"], score(bank, *answers.long)["ability"], atol=1e-5)


def test_categorical_groups_keep_their_own_order(answers):
    level = pd.Categorical(np.where(answers.person % 2 == 0, "basic", "advanced"), ["basic", "advanced", "unused"])
    bank = calibrate(*answers.long, group=level)
    assert bank.groups["group"].tolist() == ["basic", "advanced"]
    assert bank.groups["mean"][0] == 0.0
    assert calibrate(*answers.long, group=np.asarray(level)).groups["group"].tolist() == ["advanced", "basic"]
    with pytest.raises(ValueError, match="group is missing at position 3"):
        calibrate(*answers.long, group=pd.Series(level).mask(np.arange(len(level)) == 3))


@pytest.mark.parametrize("kind", [np.uint64, np.uint8, np.int16, np.float64])
def test_labels_of_any_number_type_are_the_same_persons(answers, bank, kind):
    other = calibrate(answers.person.astype(np.int64) * 10**12, answers.item.astype(kind), answers.response == 1)
    assert other.log_likelihood == pytest.approx(bank.log_likelihood, rel=1e-12)


def test_a_bank_read_back_from_its_frames_scores_alike(answers, bank):
    copy = ItemBank(items=bank.items.copy(), groups=bank.groups[["group", "mean", "sd"]].copy(), model="2pl")
    pd.testing.assert_frame_equal(score(copy, *answers.long), score(bank, *answers.long))


def test_windows_change_nothing(answers, bank):
    data, _ = read_responses(bank, *answers.long)
    layout, parameters = bank.parameters()
    grid = Grid(61)
    table = log_probability_table(layout, parameters, grid)
    prior = grid.log_prior(parameters.mean, parameters.sd)
    low, high = np.zeros(600, np.int16), np.full(600, 64, np.int16)
    results = []
    for repetition in range(3):
        if repetition == 2:  # too narrow, and in the wrong place: must be noticed
            low[:], high[:] = 0, 8
        counts, by_group = np.empty_like(table), np.empty_like(prior)
        value, _ = kernels.expected_counts(
            data.start, data.row, data.group, table, prior, grid.padded, low, high, counts, by_group
        )
        results.append((value, counts))
    assert (high - low).mean() < 52
    for value, counts in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-12)
        np.testing.assert_allclose(counts, results[0][1], atol=1e-7)


def test_quadrature_too_coarse_is_refused_with_the_reason(answers):
    with pytest.raises(QuadratureError, match=r"nodes=9 is too coarse.*Doubling.*Use nodes=\d+"):
        calibrate(*answers.long, nodes=9)


def test_finer_quadrature_changes_nothing_that_is_accepted(answers, bank):
    finer = calibrate(*answers.long, nodes=121)
    assert finer.log_likelihood == pytest.approx(bank.log_likelihood, rel=1e-7)
    np.testing.assert_allclose(finer.items["slope"], bank.items["slope"], atol=1e-3)


def test_degenerate_items_are_left_out_and_reported(answers, bank):
    person = np.concatenate([answers.person, np.arange(60), np.arange(60), np.arange(5)])
    item = np.concatenate([answers.item, np.full(60, 100), np.full(60, 101), np.full(5, 102)])
    response = np.concatenate([answers.response, np.ones(60, int), np.zeros(60, int), [0, 1, 0, 1, 1]])
    with_degenerate = calibrate(person, item, response)
    pd.testing.assert_frame_equal(with_degenerate.items, bank.items, rtol=1e-5)
    reasons = with_degenerate.report.set_index("label")["reason"]
    assert reasons[100].startswith("all right")
    assert reasons[101].startswith("all wrong")
    assert reasons[102].startswith("too few: 5")


def test_persons_with_one_answer_count_and_are_reported(answers):
    one = simulate(np.random.default_rng(5), np.zeros(40), 15, observed=np.eye(15, dtype=bool)[np.arange(40) % 15])
    joined = [np.concatenate(pair) for pair in zip(answers.long, (one.person + 1000, *one.long[1:]), strict=True)]
    bank = calibrate(*joined)
    assert bank.report["reason"].str.startswith("with one answer").any()
    lonely = score(bank, *joined).query("person >= 1000")
    assert (lonely["n"] == 1).all()
    assert lonely["std_error"].between(0.6, 1.0).all()


def test_unknown_items_are_left_out_of_scoring_with_a_warning(answers, bank):
    person = np.concatenate([answers.person, [0, 999]])
    item = np.concatenate([answers.item, [77, 77]])
    response = np.concatenate([answers.response, [1, 1]])
    with pytest.warns(ItemReport, match="2 answers to 1 items"):
        scored = score(bank, person, item, response)
    assert scored.attrs["unknown_items"] == {77: 2}
    last = scored.iloc[-1]
    assert (last["ability"], last["std_error"], last["n"]) == pytest.approx((0.0, 1.0, 0), abs=1e-6)
    np.testing.assert_allclose(scored["ability"][:-1], score(bank, *answers.long)["ability"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, i, x: (p, i, np.where(np.arange(len(x)) == 7, 2, x)), "response 2 at position 7"),
        (lambda p, i, x: (p, i, np.where(np.arange(len(x)) == 7, np.nan, x)), "response nan at position 7"),
        (lambda p, i, x: (p, i, np.where(np.arange(len(x)) == 7, 0.5, x)), "response 0.5 at position 7"),
        (lambda p, i, x: (p, i, np.where(np.arange(len(x)) == 7, -1, x)), "response -1 at position 7"),
        (lambda p, i, x: (p, i[:-1], x), "item has .* elements, person has"),
        (lambda p, i, x: (np.r_[p, p[0]], np.r_[i, i[0]], np.r_[x, 1]), "more than one response to item"),
        (lambda p, i, x: (pd.Series(p).astype("Float64").mask(p == p[3]), i, x), "person is missing at position 0"),
        (lambda p, i, x: (p[:0], i[:0], x[:0]), "no responses"),
    ],
)
def test_unusable_input_is_refused_with_its_place(answers, change, message):
    with pytest.raises(ValueError, match=message):
        calibrate(*change(*answers.long))


def test_groups_must_be_constant_large_enough_linked_and_known(answers, bank):
    person, item, response = answers.long
    with pytest.raises(ValueError, match="must be constant within a person"):
        calibrate(person, item, response, group=item % 2)
    with pytest.raises(ValueError, match="group 1 has 5 persons"):
        calibrate(person, item, response, group=(person < 5).astype(int))
    with pytest.raises(ValueError, match="no item in common"):
        calibrate(person, item + 100 * (person % 2), response, group=person % 2)
    with pytest.raises(ValueError, match="group 1 is not in the bank"):
        score(bank, person, item, response, group=np.ones_like(person))


def test_without_a_group_scoring_uses_the_mixture_of_groups():
    rng = np.random.default_rng(8)
    group = (np.arange(800) % 2).astype(int)
    data = simulate(rng, 1.5 * group + rng.standard_normal(800), 12, missing=0.5)
    bank = calibrate(*data.long, group=group[data.person])
    own = score(bank, *data.long, group=group[data.person])["ability"]
    mixed = score(bank, *data.long)["ability"]
    assert (own - mixed)[group == 0].mean() < -0.03
    assert (own - mixed)[group == 1].mean() > 0.03


def test_prior_holds_rare_items_and_leaves_the_others_alone(answers, bank):
    rare = answers.item == 3
    kept = ~rare | (np.cumsum(rare) <= 60)
    data = [column[kept] for column in answers.long]
    some = calibrate(*data, prior=Prior(below=200, rasch_below=100))
    slopes = some.items.set_index("item")["slope"]
    assert slopes[3] == pytest.approx(slopes.drop(3).mean(), abs=1e-3)
    assert np.isnan(some.items.set_index("item")["slope_se"][3])
    assert some.items.set_index("item")["intercept_se"][3] > 0
    tight = calibrate(*data, prior=Prior(slope_mean=1.0, slope_sd=0.01, below=None, rasch_below=0))
    np.testing.assert_allclose(tight.items["slope"], 1.0, atol=0.05)
    untouched = calibrate(*answers.long, prior=Prior(below=200))
    pd.testing.assert_frame_equal(untouched.items, bank.items)


def test_separated_items_are_reported_not_returned_as_infinite():
    rng = np.random.default_rng(4)
    data = simulate(rng, rng.standard_normal(400), 12, slope=np.r_[np.full(11, 1.5), 60.0], difficulty=np.zeros(12))
    bank = calibrate(*data.long)
    assert np.isfinite(bank.items["slope"]).all()
    if bank.items["slope"].max() >= 9.99:
        assert bank.report["reason"].str.contains("separate").any()


def test_a_graded_category_that_nobody_reached_is_joined_and_reported():
    rng = np.random.default_rng(6)
    data = simulate(rng, rng.standard_normal(500), 8, steps=3)
    response = np.where((data.item == 2) & (data.response == 2), 1, data.response)
    bank = calibrate(data.person, data.item, response, model="graded")
    row = bank.items.set_index("item").loc[2]
    assert np.isnan(row["intercept_2"])
    assert row["intercept_1"] > row["intercept_3"]
    assert (bank.report["label"].eq(2) & bank.report["reason"].str.contains("category 2")).any()
    # A later answer in that category counts as the next lower one.
    again = score(bank, [1, 1], [2, 0], [2, 1])
    pd.testing.assert_frame_equal(again, score(bank, [1, 1], [2, 0], [1, 1]))


def test_two_category_graded_model_is_the_2pl(answers, bank):
    graded = calibrate(*answers.long, model="graded")
    assert graded.log_likelihood == pytest.approx(bank.log_likelihood, rel=1e-12)
    np.testing.assert_allclose(graded.items["intercept_1"], bank.items["intercept"])


def test_new_items_come_on_the_scale_while_old_ones_stay():
    rng = np.random.default_rng(9)
    first = simulate(rng, rng.standard_normal(3000), 30)
    old = calibrate(*(column[first.item < 24] for column in first.long))
    # Today's learners are abler and more alike than those of the calibration.
    today = simulate(rng, 0.7 + 0.6 * rng.standard_normal(3000), 30, slope=first.slope, step=first.step)
    new = calibrate_new_items(old, *today.long)
    pd.testing.assert_frame_equal(new.items.query("item < 24").reset_index(drop=True), old.items)
    pd.testing.assert_frame_equal(new.groups, old.groups)
    added = new.difficulties().query("item >= 24")
    assert np.abs(added["difficulty"] - first.difficulty[24:]).max() < 4 * added["difficulty_se"].max()
    assert abs((added["difficulty"] - first.difficulty[24:]).mean()) < 0.1
    assert new.report["reason"].str.contains(r"mean 0\.[67]").any()
    nothing_new = calibrate_new_items(old, *(column[today.item < 24] for column in today.long))
    pd.testing.assert_frame_equal(nothing_new.items, old.items)
    with pytest.raises(ValueError, match="no item in common with the bank"):
        calibrate_new_items(old, *(column[today.item >= 24] for column in today.long))


def test_large_input_starts_from_a_subset_and_ends_at_the_same_maximum(monkeypatch):
    from dagster_project.stats.item_response import estimation as item_estimation

    rng = np.random.default_rng(2)
    group = (np.arange(3000) % 3 == 0).astype(int)
    data = simulate(rng, rng.standard_normal(3000) + group, 20, missing=0.4)
    whole = calibrate(*data.long, group=group[data.person])
    monkeypatch.setattr(item_estimation, "SUBSET_RESPONSES", 9_000)
    monkeypatch.setattr(item_estimation, "INFORMATION_RESPONSES", 12_000)
    staged = calibrate(*data.long, group=group[data.person])
    assert staged.converged
    assert staged.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-9)
    np.testing.assert_allclose(staged.items["slope"], whole.items["slope"], atol=1e-3)
    np.testing.assert_allclose(staged.items["slope_se"], whole.items["slope_se"], rtol=0.06)  # 1,000 persons


def test_without_information_between_items_em_goes_all_the_way(answers, bank, monkeypatch):
    from dagster_project.stats.item_response import estimation as item_estimation

    monkeypatch.setattr(item_estimation, "FULL_INFORMATION_PARAMETERS", 10)
    other = calibrate(*answers.long)
    assert other.converged
    assert other.log_likelihood == pytest.approx(bank.log_likelihood, rel=1e-8)
    assert other.report["reason"].str.contains("leave out the information between items").any()


def test_scoring_refines_its_quadrature_for_long_answer_records():
    rng = np.random.default_rng(12)
    data = simulate(rng, rng.standard_normal(4), 1200)
    items = pd.DataFrame({"item": np.arange(1200), "slope": data.slope, "intercept": data.step[:, 0]})
    bank = ItemBank(items=items, groups=pd.DataFrame({"group": ["all"], "mean": [0.0], "sd": [1.0]}))
    coarse = score(bank, *data.long)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine = score(ItemBank(items=items, groups=bank.groups, nodes=961), *data.long)
    np.testing.assert_allclose(coarse["ability"], fine["ability"], atol=1e-3)
    np.testing.assert_allclose(coarse["std_error"], fine["std_error"], rtol=1e-2)
