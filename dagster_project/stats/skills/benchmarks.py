"""Benchmarks of organizations in one skill, against every comparison group, with small groups protected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.abilities import AbilityLikelihood
from dagster_project.stats.item_response.organizations import (
    FEWEST_MEMBERS,
    OrganizationMeans,
    organization_means,
    organization_percentiles,
    with_scale_error,
)
from dagster_project.stats.suppression import suppress

if TYPE_CHECKING:
    import pandas as pd

COMPARISONS = ("all", "industry", "country", "size_band")
REFRESHED_AFTER_DAYS = 30
REFRESHED_AFTER_MEMBERS = 10
SMALLEST_COVARIATE = 50  # learners; rarer categories are one
WHY_HIDDEN = {
    "small": "too few members with answers in the skill",
    "complementary": "would give away an organization with too few members",
}


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
        frame: organization, comparison, comparison_label, is_shown, withheld_reason, member_count, organization_count,
            mean_ability, std_error, members_percentile, organization_percentile, percentile_sd, percentile_low,
            percentile_high, band. One row per organization with a member and comparison. Figures of hidden
            organizations are missing.
        means: the `OrganizationMeans`; None when no organization is large enough
    """
    import pandas as pd

    organization = pd.Series(np.asarray(organization, object))
    size = organization.value_counts().sort_index()
    if not len(size):
        return _empty(), None
    known = traits.reindex(size.index)
    hidden = pd.Series(
        suppress(size, known[["industry", "country", "size_band"]], minimum=minimum).to_numpy(), size.index
    )
    means = None
    if (size >= minimum).any():
        try:
            means = organization_means(likelihood, organization, covariates=_dummies(covariates), fewest=minimum)
        except ValueError:  # covariates that organizations determine, where there are few learners
            means = organization_means(likelihood, organization, fewest=minimum)
        if scale_variance is not None:
            means = with_scale_error(means, scale_variance(means.organization_code))
    parts = []
    for comparison in COMPARISONS:
        label = pd.Series("all", size.index) if comparison == "all" else known[comparison]
        part = pd.DataFrame({"comparison": comparison, "comparison_label": label, "hidden": hidden})
        if means is not None:
            figures = organization_percentiles(means, label.dropna(), draws=draws).set_index("organization")
            part = part.join(figures.drop(columns="comparison"))
        parts.append(part.rename_axis("organization").reset_index())
    out = pd.concat(parts, ignore_index=True)
    shown = out["hidden"].isna()
    out["withheld_reason"] = out["hidden"].map(WHY_HIDDEN).where(~shown, out.get("reason"))
    out["is_shown"] = shown
    out = out.rename(columns={"n": "member_count", "mean": "mean_ability", "organizations": "organization_count"})
    out = out.reindex(columns=_empty().columns)
    figures = list(out.columns[out.columns.get_loc("member_count") :])
    out.loc[~shown, figures] = None
    return out.sort_values(["organization", "comparison"], ignore_index=True), means


def _empty() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        columns=[
            "organization", "comparison", "comparison_label", "is_shown", "withheld_reason", "member_count",
            "organization_count", "mean_ability", "std_error", "members_percentile", "organization_percentile",
            "percentile_sd", "percentile_low", "percentile_high", "band",
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
