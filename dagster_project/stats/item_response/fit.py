"""How well a bank describes the answers: item fit, local dependence, differential item functioning.

Effect sizes first: with a million answers everything is significant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank, log_probability_table, prior_on
from dagster_project.stats.item_response.estimation import Parameters, Specification, maximize
from dagster_project.stats.item_response.quadrature import Grid
from dagster_project.stats.item_response.responses import Layout, Responses
from dagster_project.stats.item_response.scoring import read_responses

if TYPE_CHECKING:
    import pandas as pd

MISFIT_RMSD = 0.10
LOCAL_DEPENDENCE = 0.2
FEWEST_RESPONSES = 100  # of an item in a group, to judge DIF
ETS_DELTA = 2.35  # logits to the delta scale: 4 / 1.7
ETS_SMALL, ETS_LARGE = 1.0, 1.5


def item_fit(bank: ItemBank, person, item, response, *, group=None) -> pd.DataFrame:
    """Root mean squared deviation between observed and expected response curves of each item.

    The observed curve is the expected share of answers at each node given all the person's answers, weighted by how
    many persons are there; over the categories of a graded item the mean square is taken. (RMSD as in PISA; Köhler,
    Robitzsch and Hartig 2020.)

    Args:
        bank, person, item, response, group: as for `scoring.score`.

    Returns:
        frame: item, rmsd, is_misfit, n. ``rmsd`` in probability; ``is_misfit`` where it exceeds .10. NaN without
        answers.
    """
    import pandas as pd

    from dagster_project.stats.item_response import kernels

    data, _ = read_responses(bank, person, item, response, group=group)
    layout, parameters = bank.parameters()
    grid = Grid(bank.nodes)
    table = log_probability_table(layout, parameters, grid)
    prior = prior_on(bank, grid, grouped=group is not None)
    counts, group_counts = np.empty_like(table), np.empty_like(prior)
    low = np.zeros(len(data.persons), np.int16)
    high = np.full(len(data.persons), len(grid.padded), np.int16)
    kernels.expected_counts(
        data.start, data.row, data.group, table, prior, grid.padded, low, high, counts, group_counts
    )
    rmsd = curve_deviations(layout, counts, table)
    n = np.bincount(layout.item_of_row[data.row], minlength=len(layout.items))
    return pd.DataFrame({"item": layout.items, "rmsd": rmsd, "is_misfit": rmsd > MISFIT_RMSD, "n": n})


def curve_deviations(layout: Layout, counts: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """RMSD of every item (`item_fit`), from expected answers and log probabilities by row and node."""
    row_item = layout.item_of_row
    by_item = layout.by_item(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = (counts / by_item[row_item] - np.exp(log_p)) ** 2
        share = by_item / by_item.sum(axis=1, keepdims=True)
    difference[by_item[row_item] < 1e-8] = 0.0
    categories = np.diff(layout.step_start) + 1
    return np.sqrt((layout.by_item(difference) * share).sum(axis=1) / categories)


def residual_correlations(bank: ItemBank, person, item, response, quiz, *, group=None, ability=None) -> pd.DataFrame:
    """Correlation of residuals of item pairs within a quiz (Q3 of Yen 1984): what ability does not explain.

    Args:
        bank, person, item, response, group: as for `scoring.score`.
        quiz (mapping or series, item → quiz): items without one are left out.
        ability (array of shape (persons,), ascending by person, optional): the abilities that explain the answers;
            posterior means from these answers if not given.

    Returns:
        frame: quiz, item, other_item, correlation, is_dependent, n. Pairs answered by at least 100 persons;
        ``is_dependent`` where the correlation exceeds .2.
    """
    import pandas as pd

    from dagster_project.stats.item_response import kernels

    data, _ = read_responses(bank, person, item, response, group=group)
    layout, parameters = bank.parameters()
    grid = Grid(bank.nodes)
    if ability is None:
        prior = prior_on(bank, grid, grouped=group is not None)
        table = log_probability_table(layout, parameters, grid)
        ability, sd = np.empty(len(data.persons)), np.empty(len(data.persons))
        kernels.posterior_moments(data.start, data.row, data.group, table, prior, grid.padded, ability, sd)
    quiz_of = pd.Series(quiz).reindex(layout.items)
    code, quizzes = pd.factorize(quiz_of, sort=True)
    sizes = np.bincount(code[code >= 0], minlength=len(quizzes))
    within = pd.Series(code).groupby(code).cumcount().to_numpy()
    base = np.concatenate([[0], np.cumsum(sizes**2)])
    sums = np.zeros((base[-1], 6))
    row_item = layout.item_of_row
    category = np.arange(layout.rows) - layout.step_start[row_item] - row_item
    kernels.residual_sums_of_pairs(
        data.start, data.row, ability, row_item, category, parameters.slope, parameters.step, layout.step_start,
        code, within, sizes, base, sums,
    )  # fmt: skip
    n, x, y, xx, yy, xy = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (n * xy - x * y) / np.sqrt((n * xx - x**2) * (n * yy - y**2))
    members = [layout.items[code == k] for k in range(len(quizzes))]
    frames = []
    for k, items in enumerate(members):
        i, j = np.triu_indices(len(items), 1)
        at = base[k] + i * len(items) + j
        frames.append(
            pd.DataFrame(
                {
                    "quiz": np.repeat(quizzes[k : k + 1], len(i)),
                    "item": items[i],
                    "other_item": items[j],
                    "correlation": correlation[at],
                    "is_dependent": correlation[at] > LOCAL_DEPENDENCE,
                    "n": n[at].astype(int),
                }
            )
        )
    columns = ["quiz", "item", "other_item", "correlation", "is_dependent", "n"]
    pairs = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    return pairs[pairs["n"] >= FEWEST_RESPONSES].reset_index(drop=True)


def differential_functioning(bank: ItemBank, person, item, response, group, *, reference=None) -> pd.DataFrame:
    """Is an item harder for one group than for another of equal ability?

    For every item and group one intercept shift is estimated by marginal maximum likelihood, all other items as in the
    bank and the group's own mean and sd of ability. Items found to be C are taken out of the abilities and everything
    is estimated again (purification). The difference to the reference group, times 2.35, is on the ETS delta scale, and
    the classes are those of ETS (Zieky 1993) for the Mantel-Haenszel D-DIF it corresponds to.

    Args:
        bank, person, item, response: as for `scoring.score`.
        group (array of shape (responses,), constant within a person): for instance country or language; not the groups
            of the calibration.
        reference (label, optional): group the others are compared with; the largest if not given.

    Returns:
        frame: item, group, reference, shift, std_error, delta, ets_class, n, reference_n. ``shift`` in logits: positive
        = easier for the group. ``delta`` = 2.35 × shift. ``ets_class``: "A" negligible (|delta| < 1 or not
        significant), "C" large (|delta| ≥ 1.5 and significantly above 1), "B" between; missing with fewer than 100
        answers on either side.
    """
    import pandas as pd

    labels_bank = replace(bank, groups=_free_groups(group))
    data, _ = read_responses(labels_bank, person, item, response, group=group)
    labels = labels_bank.groups["group"].to_numpy()
    persons = np.bincount(data.group, minlength=len(labels))
    if len(labels) < 2:
        raise ValueError("differential functioning compares groups; all persons are in one")
    at = int(persons.argmax()) if reference is None else int(np.flatnonzero(labels == reference)[0])
    layout, parameters = bank.parameters()
    grid = Grid(bank.nodes)
    n = np.zeros((len(layout.items), len(labels)), np.int64)
    np.add.at(n, (layout.item_of_row[data.row], np.repeat(data.group, np.diff(data.start))), 1)

    anchors = np.ones(len(layout.items), bool)
    for _ in range(2):
        shift, variance = _shifts(data, layout, parameters, grid, len(labels), anchors)
        delta, error, ets = _classify(shift, variance, n, at)
        large = (ets == "C").any(axis=1)
        # An item set in which most items shift has no anchors to speak of; keep them all.
        if not large.any() or large.mean() > 0.5 or (large == ~anchors).all():
            break
        anchors = ~large
    i, g = np.nonzero(np.arange(len(labels))[None, :].repeat(len(layout.items), 0) != at)
    return pd.DataFrame(
        {
            "item": layout.items[i],
            "group": labels[g],
            "reference": labels[at],
            "shift": delta[i, g] / ETS_DELTA,
            "std_error": error[i, g] / ETS_DELTA,
            "delta": delta[i, g],
            "ets_class": ets[i, g],
            "n": n[i, g],
            "reference_n": n[i, at],
        }
    )


def _classify(shift: np.ndarray, variance: np.ndarray, n: np.ndarray, at: int):
    delta = ETS_DELTA * (shift - shift[:, [at]])
    error = ETS_DELTA * np.sqrt(variance + variance[:, [at]])
    ets = np.full(delta.shape, None, object)
    judged = (n >= FEWEST_RESPONSES) & (n[:, [at]] >= FEWEST_RESPONSES) & (np.arange(n.shape[1]) != at)
    size = np.abs(delta)
    small = (size < ETS_SMALL) | (size < 1.96 * error)
    large = (size >= ETS_LARGE) & (size - ETS_SMALL > 1.645 * error)
    ets[judged] = np.where(small, "A", np.where(large, "C", "B"))[judged]
    return np.where(n > 0, delta, np.nan), np.where(n > 0, error, np.nan), ets


def _shifts(
    data: Responses, layout: Layout, parameters: Parameters, grid: Grid, groups: int, anchors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Intercept shift and its variance by item and group; abilities rest on the anchors."""
    from dagster_project.stats.item_response import kernels

    row_item = layout.item_of_row
    none = np.zeros(len(layout.items), bool)
    every = np.ones(groups, bool)
    answers = np.repeat(np.arange(len(data.persons)), np.diff(data.start))
    kept = anchors[row_item[data.row]]
    start = np.concatenate([[0], np.cumsum(np.bincount(answers[kept], minlength=len(data.persons)))])
    specification = Specification(
        layout.step_start, none, none, none, every, every, np.tile([0, np.inf, 0, np.inf], (len(none), 1)), grid
    )
    begin = replace(parameters, mean=np.zeros(groups), sd=np.ones(groups))
    estimate = maximize(Responses(data.persons, start, data.row[kept], data.group), specification, begin)
    prior = grid.log_prior(estimate.parameters.mean, estimate.parameters.sd)
    used = log_probability_table(layout, parameters, grid)
    used[~anchors[row_item]] = 0.0

    shift = np.zeros((len(layout.items), groups))
    for _ in range(12):
        ratio, first, second = _shifted_tables(layout, parameters, grid, shift, used)
        score, information = np.zeros_like(shift), np.zeros_like(shift)
        kernels.shift_derivatives(
            data.start, data.row, data.group, used, prior, row_item, ratio, first, second, score, information
        )
        step = np.clip(score / np.maximum(information, 1e-9), -1.0, 1.0)
        shift = np.clip(shift + step, -6.0, 6.0)
        if np.max(np.abs(step) * np.sqrt(np.maximum(information, 0))) < 1e-2:
            break
    return shift, 1.0 / np.maximum(information, 1e-9)


def _shifted_tables(layout: Layout, parameters: Parameters, grid: Grid, shift: np.ndarray, used: np.ndarray):
    """By group, row and node: shifted P ÷ P used in the posterior; that × the derivatives of log P by the shift."""
    steps = np.diff(layout.step_start)
    row_item = layout.item_of_row
    tables = []
    for g in range(shift.shape[1]):
        moved = replace(parameters, step=parameters.step + np.repeat(shift[:, g], steps))
        log_p = log_probability_table(layout, moved, grid)
        p = np.exp(log_p)
        # Cumulative probability of reaching each category and of passing it, from the categories of the item.
        total = np.cumsum(p, axis=0)
        before = (total - p)[(layout.step_start[:-1] + np.arange(len(steps)))[row_item]]
        passed = np.clip(1.0 - (total - before), 0.0, 1.0)
        reached = np.clip(passed + p, 0.0, 1.0)
        slope = 1.0 - reached - passed
        curvature = -reached * (1.0 - reached) - passed * (1.0 - passed)
        ratio = np.exp(log_p - used)
        tables.append((ratio, ratio * slope, ratio * (slope**2 + curvature)))
    return tuple(np.ascontiguousarray(np.stack(t)) for t in zip(*tables, strict=True))


def _free_groups(group) -> pd.DataFrame:
    import pandas as pd

    labels = pd.Series(group).unique() if not isinstance(group, np.ndarray) else np.unique(group)
    labels = np.sort(np.asarray(labels))
    return pd.DataFrame({"group": labels, "mean": 0.0, "sd": 1.0})
