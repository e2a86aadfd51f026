"""How abilities moved: of learners from quarter to quarter, of organizations in a year."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.histories import Histories
from dagster_project.stats.item_response.longitudinal_bank import LongitudinalBank
from dagster_project.stats.item_response.organizations import FEWEST_MEMBERS

if TYPE_CHECKING:
    import pandas as pd

YEAR = 365


def abilities_by_quarter(
    bank: LongitudinalBank, data: Histories, mean: np.ndarray, sd: np.ndarray, prior_sd: np.ndarray
) -> pd.DataFrame:
    """Ability of each person at the end of every quarter of the calendar in which they answered.

    From all of a person's answers, later ones included: the ability at the last answer, less the gains of what was
    completed after the quarter's last answer. Between quarters it moves by the gains of completed courses, and by
    nothing else, as the model has it.

    Args:
        mean, sd, prior_sd (arrays of shape (persons,)): posterior of the ability at the last answer, and the sd of its
            prior.

    Returns:
        frame: person (place), quarter (datetime64[D], its first day), ability, std_error, completed, answers. Ascending
        by person and quarter.
    """
    import pandas as pd

    person = np.repeat(np.arange(len(data.persons)), data.answers)
    month = data.day.astype("datetime64[D]").astype("datetime64[M]").astype(int)
    quarter = month - month % 3
    ends = np.r_[(np.diff(person) > 0) | (np.diff(quarter) > 0), True] if len(person) else np.zeros(0, bool)
    at = np.flatnonzero(ends)
    who, completed = person[at], data.before[at].astype(np.int64)
    gain = bank.gains["shrunken_gain"].to_numpy(float)
    total = np.r_[0.0, np.cumsum(gain[data.done])]
    first = data.done_start[who]
    ability = mean[who] - (total[first + data.last[who]] - total[first + completed])
    # The k-th quarters of all persons together.
    number = np.arange(len(at)) - np.searchsorted(who, who)
    then = np.tile(data.last, (int(number.max(initial=-1)) + 1, 1))
    then[number, who] = completed
    variance = bank.error_variance(data, mean, prior_sd, at=then)[number, who]
    return pd.DataFrame(
        {
            "person": who,
            "quarter": quarter[at].astype("datetime64[M]").astype("datetime64[D]"),
            "ability": ability,
            "std_error": np.sqrt(sd[who] ** 2 + variance),
            "completed": completed,
            "answers": np.diff(np.r_[-1, at]),
        }
    )


def organization_gains(
    bank: LongitudinalBank, before: Histories, after: Histories, organization: pd.Series
) -> pd.DataFrame:
    """How much the members of each organization gained between two times, by those who answered in both.

    The change of a member is the difference of two measurements that share no answer; each enters with the mean and
    the variance that it has without the prior (the posterior's, the prior divided out), so that nothing is shrunk
    towards nobody having learned. Weighted means by precision; errors of courses' locations and gains are added.

    Args:
        before, after: the answers of the two times.
        organization (series, person → organization)

    Returns:
        frame: organization, members, gain, gain_se. Of organizations with at least 10 such members.
    """
    import pandas as pd

    both = np.intersect1d(before.persons, after.persons)
    of = organization.reindex(both)
    both, of = both[of.notna().to_numpy()], of.dropna()
    size = of.value_counts()
    kept = of.isin(size.index[size >= FEWEST_MEMBERS]).to_numpy()
    both = both[kept]
    columns = ["organization", "members", "gain", "gain_se"]
    if not len(both):
        return pd.DataFrame(columns=columns)
    member, names = pd.factorize(of[kept].to_numpy(object), sort=True)
    sides = [_Measured(bank, data.select(np.flatnonzero(np.isin(data.persons, both)))) for data in (before, after)]
    weight = 1.0 / (sides[0].variance + sides[1].variance)
    change = sides[1].mean - sides[0].mean
    total = np.bincount(member, weight, len(names))
    gain = np.bincount(member, weight * change, len(names)) / total
    shift = sides[1].sensitivity(member, weight) - sides[0].sensitivity(member, weight)
    shift /= total[:, None]
    scale = np.einsum("ij,jk,ik->i", shift, bank.covariance, shift)
    # Members who differ in what they learned are part of the error of a mean over members.
    spread = np.bincount(member, weight**2 * (change - gain[member]) ** 2, len(names)) / total**2
    error = np.sqrt(np.maximum(spread, 1.0 / total) + np.maximum(scale, 0.0))
    return pd.DataFrame(
        {"organization": names, "members": np.bincount(member), "gain": gain, "gain_se": error}, columns=columns
    )


class _Measured:
    """Abilities at the last of some answers as the answers alone have them."""

    def __init__(self, bank: LongitudinalBank, data: Histories):
        self.bank, self.data = bank, data
        prior_mean, prior_sd = bank.prior(data)
        self.posterior_mean, sd = bank.posterior(data).moments()
        precision = np.maximum(1.0 / sd**2 - 1.0 / prior_sd**2, 1e-2)
        self.variance = 1.0 / precision
        self.mean = (self.posterior_mean / sd**2 - prior_mean / prior_sd**2) / precision

    def sensitivity(self, member: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Weighted sum of how the means move with locations and gains, by group: the prior divided out."""
        return self.bank.sensitivity(self.data, self.posterior_mean, np.full(len(member), np.inf), member, weight)
