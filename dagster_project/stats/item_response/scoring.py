"""Abilities of persons on a frozen bank."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank, log_probability_table, prior_on
from dagster_project.stats.item_response.estimation import Parameters
from dagster_project.stats.item_response.quadrature import COARSEST_SPACING, Grid, grid_of
from dagster_project.stats.item_response.responses import (
    Layout,
    Responses,
    count_categories,
    group_of_persons,
    read_answers,
    sort_by_person,
)

if TYPE_CHECKING:
    import pandas as pd


class ItemReport(UserWarning):
    """Answers that were left out of scoring, and why."""


def score(bank: ItemBank, person, item, response, *, group=None) -> pd.DataFrame:
    """Ability of each person on a frozen bank: mean and sd of the posterior (EAP).

    Args:
        bank: frozen; its quadrature is refined where it must be.
        person, item, response (arrays of shape (responses,)): as for `calibrate`. Answers to items that are not in the
            bank are left out, with an `ItemReport` warning and in the frame's ``attrs["unknown_items"]`` (item →
            answers).
        group (array of shape (responses,), constant within a person, optional): whose distribution in ``bank.groups``
            is the person's prior. Without it the prior is the mixture of all groups.

    Returns:
        frame: person, ability, std_error, n. Ascending by person; ability in sds of the bank's first group; n = answers
        used. A person without any has the prior's mean and sd.

    Raises:
        ValueError: unusable input, or a group that the bank does not have.

    Notes:
        Uses the bank's quadrature, refined when somebody's posterior is too narrow for it.
    """
    import pandas as pd

    data, unknown = read_responses(bank, person, item, response, group=group)
    layout, parameters = bank.parameters()
    nodes = bank.nodes
    while True:
        grid = grid_of(nodes)
        mean, sd = _moments(data, layout, parameters, grid, prior_on(bank, grid, grouped=group is not None))
        answered = np.diff(data.start) > 0
        if grid.spacing <= COARSEST_SPACING * sd[answered].min(initial=np.inf) or nodes > 1000:
            break
        nodes = 2 * nodes - 1
    frame = pd.DataFrame({"person": data.persons, "ability": mean, "std_error": sd, "n": np.diff(data.start)})
    frame.attrs["unknown_items"] = unknown
    if unknown:
        some = ", ".join(str(name) for name in list(unknown)[:5])
        warnings.warn(
            f"{sum(unknown.values())} answers to {len(unknown)} items that are not in the bank were left out: {some}"
            f"{' …' if len(unknown) > 5 else ''}; calibrate_new_items puts new items on the bank's scale",
            ItemReport,
            stacklevel=2,
        )
    return frame


def read_responses(bank: ItemBank, person, item, response, *, group=None) -> tuple[Responses, dict]:
    """Sort responses for a bank: all persons, known items; and the unknown items with their number of answers.

    With ``group`` the groups are numbered as in ``bank.groups``, else everybody is in group 0.
    """
    import pandas as pd

    persons, items, answers, groups = read_answers(person, item, response, group, bank.model)
    layout, _ = bank.parameters()
    known = pd.Index(bank.items["item"]).get_indexer(items.values)
    counts = count_categories(items, answers)
    unknown = {items.values[i]: int(counts[i].sum()) for i in np.flatnonzero(known < 0)}
    member = group_of_persons(persons, groups)
    if group is not None:
        at = pd.Index(bank.groups["group"]).get_indexer(groups.values)
        if (at < 0).any():
            raise ValueError(
                f"group {groups.values[at < 0][0]} is not in the bank, which has {list(bank.groups['group'])}; "
                "leave group out to use all of them as the prior"
            )
        member = at.astype(np.int32)[member]
    return sort_by_person(persons, items, answers, layout.row_of(known, counts.shape[1]), member), unknown


def _moments(data: Responses, layout: Layout, parameters: Parameters, grid: Grid, log_prior: np.ndarray):
    from dagster_project.stats.item_response import kernels

    mean, sd = np.empty(len(data.persons)), np.empty(len(data.persons))
    table = log_probability_table(layout, parameters, grid)
    kernels.posterior_moments(data.start, data.row, data.group, table, log_prior, grid.padded, mean, sd)
    return mean, sd
