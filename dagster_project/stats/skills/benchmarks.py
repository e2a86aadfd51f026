"""Benchmarks of organizations in one skill, against every comparison group, with small groups protected."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.abilities import AbilityLikelihood
from dagster_project.stats.item_response.organizations import (
    FEWEST_MEMBERS,
    FEWEST_ORGANIZATIONS,
    LARGEST_SHARE,
    OrganizationMeans,
    organization_means,
    organization_percentiles,
    with_scale_error,
)
from dagster_project.stats.suppression import suppress

if TYPE_CHECKING:
    import pandas as pd

TRAITS = ("industry", "country", "size_band")
# Comparison → traits that an organization shares with those it is compared with; the widest comparisons first.
COMPARISONS = {"all": ()} | {
    "_".join(traits): traits for count in (1, 2, 3) for traits in itertools.combinations(TRAITS, count)
}
PLACES = [
    "members_percentile", "organization_percentile", "percentile_sd", "percentile_low", "percentile_high", "band",
]  # fmt: skip
REFRESHED_AFTER_DAYS = 30
REFRESHED_AFTER_MEMBERS = 10
SMALLEST_COVARIATE = 50  # learners; rarer categories are one
WHY_HIDDEN = {
    "small": "too few members with answers in the skill",
    "complementary": "would give away an organization with too few members",
}
TELLS_OF_FEW = (
    f"with the other comparisons it would tell of fewer than {FEWEST_ORGANIZATIONS} organizations, or mainly of one"
)


def due_organizations(today, members: pd.DataFrame, old_members: pd.DataFrame, computed_on: pd.Series) -> set:
    """Organizations whose benchmark may be computed again.

    A benchmark that followed every member would tell, by its change, how the one who joined or left had scored.

    Args:
        today: last day of the source's data.
        members, old_members (frames: organization, learner): of now, and of the last computation.
        computed_on (series, organization → date): day of the last computation; organizations without one are due.
    """
    both = members.merge(old_members, on=["organization", "learner"], how="outer", indicator=True)
    changed = both[both["_merge"] != "both"].groupby("organization").size()
    every = set(members["organization"]) | set(computed_on.index)

    def is_due(organization) -> bool:
        if organization not in computed_on.index or changed.get(organization, 0) >= REFRESHED_AFTER_MEMBERS:
            return True
        return (today - computed_on[organization]).days >= REFRESHED_AFTER_DAYS

    return {organization for organization in every if is_due(organization)}


def benchmark(
    likelihood: AbilityLikelihood,
    organization,
    covariates: pd.DataFrame,
    traits: pd.DataFrame,
    *,
    draws: int = 1000,
    minimum: int = FEWEST_MEMBERS,
    scale_variance: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[pd.DataFrame, OrganizationMeans | None]:
    """Figures of every organization against every comparison group.

    Groups lie in each other: a percentile among all, less that among its industry, is one among the other industries.
    A comparison is withheld where the wider ones that are told and it together would give a percentile among others
    than could be compared with on their own: fewer than five organizations, or one with more than half of the members.

    Args:
        likelihood: of all learners with answers, whether or not they have an organization.
        organization (array of shape (persons,)): missing: none.
        covariates (frame of shape (persons, k), labels): what selects people into questions, for instance the courses'
            level and the country.
        traits (frame indexed by organization: industry, country, size_band): of all organizations.
        minimum: fewest members of an organization with figures.
        scale_variance: from each learner's place among the organizations with figures (-1: none) to the variance of
            every organization's mean that errors of the scale make.

    Returns:
        frame: organization, comparison, comparison_label, compared_industry, compared_country, compared_size_band,
            is_shown, withheld_reason, member_count, organization_count, mean_ability, std_error, members_percentile,
            organization_percentile, percentile_sd, percentile_low, percentile_high, band. One row per organization with
            a member and comparison. Figures of hidden organizations are missing.
        means: the `OrganizationMeans`; None when no organization is large enough
    """
    import pandas as pd

    organization = pd.Series(np.asarray(organization, object))
    size = organization.value_counts().sort_index()
    if not len(size):
        return _empty(), None
    known = traits.reindex(size.index)
    # No comparison counts a small organization: groups of several traits are no further sums that one is in.
    hidden = pd.Series(suppress(size, known[list(TRAITS)], minimum=minimum).to_numpy(), size.index)
    means = None
    if (size >= minimum).any():
        try:
            means = organization_means(likelihood, organization, covariates=_dummies(covariates), fewest=minimum)
        except ValueError:  # covariates that organizations determine, where there are few learners
            means = organization_means(likelihood, organization, fewest=minimum)
        if scale_variance is not None:
            means = with_scale_error(means, scale_variance(means.organization_code))
    parts = []
    for comparison, together in COMPARISONS.items():
        shared = known[list(together)].dropna()
        words = [", ".join(row) for row in shared.to_numpy()] if together else "all"
        label = pd.Series(words, shared.index, dtype=object).reindex(size.index)
        part = pd.DataFrame({"comparison": comparison, "comparison_label": label, "hidden": hidden})
        for trait in TRAITS:
            part[f"compared_{trait}"] = shared[trait].reindex(size.index) if trait in together else None
        if means is not None:
            group = shared.groupby(list(together)).ngroup() if together else pd.Series(0, size.index)
            figures = organization_percentiles(means, group, draws=draws).set_index("organization")
            part = part.join(figures.drop(columns="comparison"))
            unknown = " or ".join(together).replace("_", " ")
            part["reason"] = part["reason"].where(label.notna(), f"{unknown} not known")
        parts.append(part.rename_axis("organization").reset_index())
    out = pd.concat(parts, ignore_index=True)
    if means is not None:
        few = tells_of_few(means.organizations, known, out)
        out.loc[few, PLACES] = None
        out.loc[few, "reason"] = TELLS_OF_FEW
    shown = out["hidden"].isna()
    out["withheld_reason"] = out["hidden"].map(WHY_HIDDEN).where(~shown, out.get("reason"))
    out["is_shown"] = shown
    out = out.rename(columns={"n": "member_count", "mean": "mean_ability", "organizations": "organization_count"})
    out = out.reindex(columns=_empty().columns)
    figures = list(out.columns[out.columns.get_loc("member_count") :])
    out.loc[~shown, figures] = None
    return out.sort_values(["organization", "comparison"], ignore_index=True), means


def tells_of_few(sizes: pd.DataFrame, traits: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Which comparisons would tell, with the wider ones that are told, how an organization stands to a few others.

    Args:
        sizes (frame: organization, n): organizations that are compared, with their members.
        traits (frame indexed by organization: industry, country, size_band)
        rows (frame: organization, comparison, reason): one for each of both; with a reason it is not told anyway.

    Returns:
        array of shape (rows,)
    """
    known = traits.reindex(sizes["organization"])[list(TRAITS)].to_numpy(object)
    is_known = ~traits.reindex(sizes["organization"])[list(TRAITS)].isna().to_numpy()
    n = sizes["n"].to_numpy(float)
    told = rows[rows["reason"].isna() & rows["organization"].isin(sizes["organization"])]
    row_of = {(row.organization, row.comparison): row.Index for row in told.itertuples()}
    out = np.zeros(len(rows), bool)
    for k, organization in enumerate(sizes["organization"]):
        same = (known == known[k]) & is_known & is_known[k]
        # Others by which traits they share: every comparison is a sum of these eight parts.
        part_of = same @ (1 << np.arange(len(TRAITS)))
        parts = [n[(part_of == part) & (np.arange(len(n)) != k)] for part in range(1 << len(TRAITS))]
        filled = tuple(part for part, members in enumerate(parts) if len(members))
        family: tuple[str, ...] = ()
        for comparison in COMPARISONS:
            row = row_of.get((organization, comparison))
            if row is None:
                continue
            if all(_is_enough([parts[part] for part in sum_]) for sum_ in _sums_told((*family, comparison), filled)):
                family = (*family, comparison)
            else:
                out[rows.index.get_loc(row)] = True
    return out


def _is_enough(parts: list[np.ndarray]) -> bool:
    members = np.concatenate(parts)
    return len(members) >= FEWEST_ORGANIZATIONS and members.max() <= LARGEST_SHARE * members.sum()


@cache
def _sums_told(family: tuple[str, ...], filled: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Sums of parts that follow from the comparisons of a family, by adding and taking away.

    A part is a number whose bits say which traits are shared; ``filled`` are those with organizations.
    """
    masks = [sum(1 << TRAITS.index(trait) for trait in COMPARISONS[comparison]) for comparison in family]
    told = np.array([[part & mask == mask for part in filled] for mask in masks], float)
    _, singular, rows = np.linalg.svd(told)
    null = rows[int((singular > 1e-9).sum()) :]
    candidates = np.array(list(itertools.product((0.0, 1.0), repeat=len(filled)))[1:])
    follows = np.abs(candidates @ null.T).max(axis=1, initial=0.0) < 1e-9
    return tuple(tuple(part for part, is_in in zip(filled, row, strict=True) if is_in) for row in candidates[follows])


def _empty() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        columns=[
            "organization", "comparison", "comparison_label", *(f"compared_{trait}" for trait in TRAITS), "is_shown",
            "withheld_reason", "member_count", "organization_count", "mean_ability", "std_error", *PLACES,
        ]
    )  # fmt: skip


def _dummies(covariates: pd.DataFrame) -> np.ndarray:
    """0/1 columns of the frequent labels of each covariate, the most frequent left out."""
    columns = []
    for name in covariates:
        count = covariates[name].value_counts()
        columns += [
            (covariates[name] == label).to_numpy(float)
            for label in count.index[1:]
            if count[label] >= SMALLEST_COVARIATE
        ]
    return np.column_stack(columns) if columns else np.empty((len(covariates), 0))
