"""Item response models for answers of many learners to many questions, most of them missing.

    bank = calibrate(person, item, response, model="2pl")
    abilities = score(bank, person, item, response)

Unidimensional models with logistic curves: P(correct) = 1 / (1 + exp(-(slope·θ + intercept))) for "2pl" and "rasch"
(slope 1), P(response ≥ k) = 1 / (1 + exp(-(slope·θ + intercept_k))) for "graded" (Samejima 1969). Ability θ is normal
within a group. Difficulty is -intercept / slope. 3PL: not supported.

Estimated by marginal maximum likelihood (Bock and Aitkin 1981; Bock and Zimowski 1997 for several groups), agreeing
with R mirt. Input and memory are proportional to the answers given, never to learners × questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank, log_probability_table, report_frame
from dagster_project.stats.item_response.estimation import LARGEST_SLOPE, Estimate, Parameters, Specification, maximize
from dagster_project.stats.item_response.quadrature import COARSEST_SPACING, LIMIT, Grid, QuadratureError, grid_of
from dagster_project.stats.item_response.responses import (
    Layout,
    Responses,
    count_categories,
    group_of_persons,
    lay_out,
    read_answers,
    sort_by_person,
)

if TYPE_CHECKING:
    import pandas as pd

MODELS = ("2pl", "rasch", "graded")
FEWEST_RESPONSES = 20  # without a prior, an item with fewer is left out
FEWEST_PERSONS = 20  # in a group
DOUBLING_PERSONS = 2000
DOUBLING_LOG_LIKELIHOOD = 1e-7  # relative
DOUBLING_ABILITY = 0.05  # posterior sds


@dataclass(frozen=True)
class Prior:
    """Normal priors for items with few responses, which plain maximum likelihood estimates badly or not at all.

    Items with fewer than ``below`` responses get both priors; items with fewer than ``rasch_below`` also have their
    slope held at the mean of the estimated slopes. ``below=None``: every item.
    """

    slope_mean: float = 1.0
    slope_sd: float = 0.5
    intercept_mean: float = 0.0
    intercept_sd: float = 2.0
    below: int | None = 200
    rasch_below: int = 100


def calibrate(person, item, response, *, model="2pl", group=None, prior=None, nodes=61) -> ItemBank:
    """Estimate item parameters and ability distributions by marginal maximum likelihood.

    Args:
        person, item, response (arrays of one length, shape (responses,)): one element per answered question, in any
            order; labels of any kind. Responses are whole numbers: 0 or 1 for "2pl" and "rasch", 0, 1, … for "graded".
            A person answers an item at most once.
        model: "2pl", "rasch" or "graded".
        group (array of shape (responses,), constant within a person, optional): groups with their own mean and sd of
            ability, for instance course patterns. Where abler learners take harder courses, one distribution for all
            biases every difficulty.
        prior: None is plain maximum likelihood.
        nodes: equally spaced quadrature points on ±6; further ones at the same distance where a group reaches beyond.

    Returns:
        The bank. Items that all persons answered alike, and without a prior items with fewer than 20 responses, are
        left out and listed in ``report``.

    Raises:
        QuadratureError: the nodes are further apart than 1.3 of the smallest posterior sd and doubling them changes the
            result.
        ValueError: unusable input, with the first offending value; a group that shares no item with the others, or is
            too small.

    Notes:
        SQUAREM-accelerated EM and a final Newton step (`estimation`); standard errors from the observed information
        (Louis 1982). Single thread; memory beside the input about 14 bytes per response.
    """
    import pandas as pd

    if model not in MODELS:
        raise ValueError(f"model {model!r}; expected one of {', '.join(MODELS)}")
    grid = grid_of(nodes)
    persons, items, answers, groups = read_answers(person, item, response, group, model)
    counts = count_categories(items, answers)
    notes = _unusable_items(items.values, counts, prior)
    usable = np.setdiff1d(np.arange(len(items.values)), [position for position, _ in notes])
    report = [("item", items.values[position], int(counts[position].sum()), reason) for position, reason in notes]
    if not len(usable):
        raise ValueError("no item can be estimated:\n" + report_frame(report).to_string(index=False, max_rows=10))
    layout = lay_out(items.values[usable], counts[usable])
    position = np.full(len(items.values), -1)
    position[usable] = np.arange(len(usable))
    member = group_of_persons(persons, groups)
    data = sort_by_person(persons, items, answers, layout.row_of(position, counts.shape[1]), member)
    del persons, items, answers, position
    _check_groups(data, layout, groups.values)
    report += _collapsed_categories(layout, counts.shape[1])
    report += _thin_persons(data)

    start = _start(layout, counts[usable], len(groups.values))
    first = np.arange(len(groups.values)) == 0
    everything = np.ones(len(usable), bool)
    specification = _specify(
        layout, counts[usable], everything, model, prior, grid, free_mean=~first, free_sd=~first | (model == "rasch")
    )
    estimate = maximize(data, specification, start)
    _check_quadrature(data, layout, estimate, grid)
    report += _estimation_notes(layout, estimate)
    n = np.bincount(data.group, minlength=len(groups.values))
    p, se = estimate.parameters, estimate.std_error
    return ItemBank(
        items=_item_frame(layout, estimate, counts[usable].sum(axis=1), model, counts.shape[1] - 1),
        groups=pd.DataFrame(
            {"group": groups.values, "mean": p.mean, "sd": p.sd, "mean_se": se.mean, "sd_se": se.sd, "n": n}
        ),
        model=model,
        nodes=nodes,
        log_likelihood=estimate.log_likelihood,
        log_likelihood_left=estimate.log_likelihood_left,
        iterations=estimate.passes,
        converged=estimate.converged,
        report=report_frame(report),
    )


def calibrate_new_items(bank: ItemBank, person, item, response, *, group=None, prior=None) -> ItemBank:
    """Put new items on the scale of a bank, whose own items stay as they are (fixed-parameter calibration).

    The persons' ability distribution is estimated along with the new items, on the bank's scale (Kim 2006, multiple
    weights updating and multiple EM cycles): today's learners need not be like those of the calibration.

    Args:
        bank: what the items are put on the scale of.
        person, item, response, group, prior: as for `calibrate`; answers to old items anchor the scale and should be
            included. ``group`` may be new.

    Returns:
        The bank: ``items`` with the new ones added, the bank's ``groups``; likelihood, iterations, convergence and
        report are of this run.

    Raises:
        ValueError: a group of persons has answered no item of the bank, and the errors of `calibrate`.
    """
    import pandas as pd

    grid = grid_of(bank.nodes)
    persons, items, answers, groups = read_answers(person, item, response, group, bank.model)
    counts = count_categories(items, answers)
    old_layout, old = bank.parameters()
    known = pd.Index(bank.items["item"]).get_indexer(items.values)
    is_new = known < 0
    notes = [note for note in _unusable_items(items.values, counts, prior) if is_new[note[0]]]
    fresh = np.setdiff1d(np.flatnonzero(is_new), [position for position, _ in notes])
    report = [("item", items.values[position], int(counts[position].sum()), reason) for position, reason in notes]
    new_layout = lay_out(items.values[fresh], counts[fresh])
    layout = old_layout.followed_by(new_layout)
    position = known.copy()
    position[fresh] = len(old_layout.items) + np.arange(len(fresh))
    data = sort_by_person(
        persons, items, answers, layout.row_of(position, counts.shape[1]), group_of_persons(persons, groups)
    )
    _check_groups(data, layout, groups.values, fixed_items=len(old_layout.items))
    report += _collapsed_categories(new_layout, counts.shape[1]) + _thin_persons(data)

    begin = _start(new_layout, counts[fresh], len(groups.values))
    start = Parameters(
        np.concatenate([old.slope, begin.slope]), np.concatenate([old.step, begin.step]), begin.mean, begin.sd
    )
    n_by_item = np.zeros((len(layout.items), counts.shape[1]), np.int64)
    n_by_item[position[position >= 0]] = counts[position >= 0]
    all_groups = np.ones(len(groups.values), bool)
    estimated = np.arange(len(layout.items)) >= len(old_layout.items)
    specification = _specify(
        layout, n_by_item, estimated, bank.model, prior, grid, free_mean=all_groups, free_sd=all_groups
    )
    if specification.tied_slope.any() and not specification.free_slope.any():
        start.slope[specification.tied_slope] = old.slope.mean()
    estimate = maximize(data, specification, start)
    _check_quadrature(data, layout, estimate, grid)
    report += _estimation_notes(layout, estimate)
    for label_, mean, sd, n in zip(
        groups.values, estimate.parameters.mean, estimate.parameters.sd, np.bincount(data.group), strict=True
    ):
        report.append(
            ("group", label_, int(n), f"these persons: ability on the bank's scale: mean {mean:.3f}, sd {sd:.3f}")
        )
    widest = max(bank.items.columns.str.fullmatch(r"intercept_\d+").sum(), counts.shape[1] - 1)
    frame = _item_frame(layout, estimate, n_by_item.sum(axis=1), bank.model, widest)
    added = frame.iloc[len(old_layout.items) :]
    every_item = pd.concat([bank.items, added], ignore_index=True)[list(frame.columns)]
    return ItemBank(
        items=every_item.sort_values("item", ignore_index=True),
        groups=bank.groups,
        model=bank.model,
        nodes=bank.nodes,
        log_likelihood=estimate.log_likelihood,
        log_likelihood_left=estimate.log_likelihood_left,
        iterations=estimate.passes,
        converged=estimate.converged,
        report=report_frame(report),
    )


def _unusable_items(labels: np.ndarray, counts: np.ndarray, prior: Prior | None) -> list[tuple[int, str]]:
    notes = []
    for position, by_category in enumerate(counts):
        n, seen = int(by_category.sum()), np.flatnonzero(by_category)
        if len(seen) == 1:
            alike = {0: "all wrong", counts.shape[1] - 1: "all right"}.get(int(seen[0]), f"all {seen[0]}")
            notes.append((position, f"{alike}: {n} equal answers say nothing about the item's slope or difficulty"))
        elif prior is None and n < FEWEST_RESPONSES:
            notes.append((position, f"too few: {n} answers, at least {FEWEST_RESPONSES} are needed without a prior"))
    return notes


def _collapsed_categories(layout: Layout, categories: int) -> list[tuple]:
    if categories <= 2:
        return []
    return [
        ("item", layout.items[i], 0, f"no answer in category {', '.join(map(str, absent))}: joined with the next lower")
        for i, seen in enumerate(layout.observed)
        if len(absent := np.setdiff1d(np.arange(seen[-1]), seen))
    ]


def _thin_persons(data: Responses) -> list[tuple]:
    answers = np.diff(data.start)
    lines = [
        (int((answers == 0).sum()), "without an answer to a usable item: they do not count"),
        (int((answers == 1).sum()), "with one answer: it counts, but their ability is nearly the group's mean"),
    ]
    return [("persons", "", n, reason) for n, reason in lines if n]


def _estimation_notes(layout: Layout, estimate: Estimate) -> list[tuple]:
    slope = estimate.parameters.slope
    at_bound = np.abs(slope) >= LARGEST_SLOPE * (1 - 1e-9)
    separated = "slope at its bound: the answers separate the persons; use a prior"
    return (
        [("item", layout.items[i], 0, separated) for i in np.flatnonzero(at_bound)]
        + [
            ("item", layout.items[i], 0, f"negative slope {slope[i]:.2f}: abler persons fail it; is the key right?")
            for i in np.flatnonzero(slope < 0)
        ]
        + [("calibration", "", 0, note) for note in estimate.notes]
    )


def _check_groups(data: Responses, layout: Layout, labels: np.ndarray, *, fixed_items: int = 0) -> None:
    """Every group needs persons, and items in common with the group (or the items) that carry the scale."""
    persons = np.bincount(data.group, minlength=len(labels))
    if len(labels) > 1 and persons.min() < FEWEST_PERSONS:
        small = int(persons.argmin())
        raise ValueError(
            f"group {labels[small]} has {persons[small]} persons; expected at least {FEWEST_PERSONS}: merge it"
        )
    if len(labels) == 1 and not fixed_items:
        return
    row_item = layout.item_of_row
    answers = np.zeros((len(labels), len(layout.items)), bool)
    answers[np.repeat(data.group, np.diff(data.start)), row_item[data.row]] = True
    carried = answers[:, :fixed_items].any(axis=1) if fixed_items else np.arange(len(labels)) == 0
    while True:
        reached = answers[:, answers[carried].any(axis=0)].any(axis=1) & ~carried
        if not reached.any():
            break
        carried |= reached
    if not carried.all():
        what = "the bank" if fixed_items else f"group {labels[0]}, directly or through other groups"
        raise ValueError(
            f"group {labels[~carried][0]} has answered no item in common with {what}: "
            "its abilities cannot be put on the same scale; calibrate it apart"
        )


def _start(layout: Layout, counts: np.ndarray, groups: int) -> Parameters:
    steps = []
    for by_category, seen in zip(counts, layout.observed, strict=True):
        n = by_category[seen].astype(float)
        share = (n[::-1].cumsum()[::-1][1:] + 0.5) / (n.sum() + 1.0)
        steps.append(1.2 * np.log(share / (1 - share)))
    return Parameters(
        np.ones(len(layout.items)), np.concatenate([*steps, np.empty(0)]), np.zeros(groups), np.ones(groups)
    )


def _specify(
    layout: Layout,
    counts: np.ndarray,
    estimated: np.ndarray,
    model: str,
    prior: Prior | None,
    grid: Grid,
    *,
    free_mean: np.ndarray,
    free_sd: np.ndarray,
) -> Specification:
    n = counts.sum(axis=1)
    table = np.tile([0.0, np.inf, 0.0, np.inf], (len(n), 1))
    tied = np.zeros(len(n), bool)
    if prior is not None:
        rare = n < prior.below if prior.below is not None else np.ones(len(n), bool)
        table[rare] = prior.slope_mean, prior.slope_sd, prior.intercept_mean, prior.intercept_sd
        tied = (n < prior.rasch_below) & estimated & (model != "rasch")
    return Specification(
        step_start=layout.step_start,
        free_slope=estimated & ~tied & (model != "rasch"),
        tied_slope=tied,
        free_step=estimated,
        free_mean=free_mean,
        free_sd=free_sd,
        prior=table,
        grid=grid,
    )


def _check_quadrature(data: Responses, layout: Layout, estimate: Estimate, grid: Grid) -> None:
    from dagster_project.stats.item_response import kernels

    p = estimate.parameters
    far = np.abs(p.mean) + 2.5 * p.sd
    if far.max() > LIMIT:
        g = int(far.argmax())
        raise QuadratureError(
            f"a group's ability has mean {p.mean[g]:.2f} and sd {p.sd[g]:.2f}: it reaches beyond the nodes on "
            f"±{LIMIT:g}; is the group linked to the others by enough answers?"
        )
    if grid.spacing <= COARSEST_SPACING * estimate.smallest_sd:
        return
    # Doubling is the proof, on those with the most answers, whose posteriors are the narrowest.
    most = np.sort(np.argsort(-np.diff(data.start), kind="stable")[:DOUBLING_PERSONS])
    sample = data.select(most)
    results = []
    for trial in (grid, Grid(2 * grid.nodes - 1)):
        table = log_probability_table(layout, p, trial)
        mean, sd = np.empty(len(most)), np.empty(len(most))
        value = kernels.posterior_moments(
            sample.start, sample.row, sample.group, table, trial.log_prior(p.mean, p.sd), trial.padded, mean, sd
        )
        results.append((value, mean, sd))
    (value, mean, _), (finer_value, finer_mean, finer_sd) = results
    relative = abs(finer_value - value) / abs(finer_value)
    moved = float(np.max(np.abs(mean - finer_mean) / finer_sd))
    if relative > DOUBLING_LOG_LIKELIHOOD or moved > DOUBLING_ABILITY:
        needed = int(np.ceil(2 * LIMIT / (COARSEST_SPACING * min(estimate.smallest_sd, finer_sd.min())))) + 1
        raise QuadratureError(
            f"nodes={grid.nodes} is too coarse: the nodes are {grid.spacing:.3g} apart, the smallest posterior sd is "
            f"{min(estimate.smallest_sd, float(finer_sd.min())):.3g}. Doubling the nodes changes the log likelihood by "
            f"{relative:.1e} of itself (allowed {DOUBLING_LOG_LIKELIHOOD:.0e}) and an ability by {moved:.2f} of its sd "
            f"(allowed {DOUBLING_ABILITY}). Use nodes={needed | 1} or more"
        )


def _item_frame(layout: Layout, estimate: Estimate, n: np.ndarray, model: str, widest: int) -> pd.DataFrame:
    import pandas as pd

    names = ["intercept"] if model != "graded" else [f"intercept_{k}" for k in range(1, widest + 1)]
    values, errors, covariances = np.full((3, len(layout.items), len(names)), np.nan)
    item = np.repeat(np.arange(len(layout.items)), np.diff(layout.step_start))
    category = np.concatenate([*(seen[1:] for seen in layout.observed), np.empty(0, int)]).astype(int)
    values[item, category - 1] = estimate.parameters.step
    errors[item, category - 1] = estimate.std_error.step
    covariances[item, category - 1] = estimate.slope_step_covariance
    return pd.DataFrame(
        {"item": layout.items, "slope": estimate.parameters.slope}
        | dict(zip(names, values.T, strict=True))
        | {"slope_se": estimate.std_error.slope}
        | {f"{name}_se": column for name, column in zip(names, errors.T, strict=True)}
        | {f"slope_{name}_cov": column for name, column in zip(names, covariances.T, strict=True)}
        | {"n": n}
    )
