"""A scale on which abilities move: its questions, courses and gains, and what answers say on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.abilities import AbilityLikelihood, Posterior
from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.histories import Histories, histories
from dagster_project.stats.item_response.intervals import with_intervals
from dagster_project.stats.item_response.moved_tables import MovedTables, places
from dagster_project.stats.item_response.quadrature import Grid

if TYPE_CHECKING:
    import pandas as pd

NODES = 49
GROUPS = ((0, 0, "completed none"), (1, 2, "completed 1 or 2"), (3, 10**9, "completed 3 or more"))
SMALLEST_GROUP = 50


@dataclass(frozen=True)
class LongitudinalBank:
    """A calibrated scale, in sds of the ability of all persons at their last answer, from their mean.

    Attributes:
        bank: items, with errors that include their course's; its groups are persons by completed courses at their last
            answer, and the distribution of their ability then: the prior of a score, which knows nothing else of them.
        courses (frame: course, level, persons, answers, location, location_se, shared_se, is_linked): ``location``:
            mean difficulty of the course's questions, by information. ``shared_se``: of the error that all its
            questions have alike. ``is_linked``: shares people with the largest part.
        gains (frame: course, persons, gain, gain_se, shrunken_gain, shrunken_se): what a completed course adds;
            ``gain`` is the estimate from its takers alone, ``shrunken_gain`` the posterior among all courses.
            ``persons``: with answers before and after the completion.
        covariance (array of shape (courses + gains, courses + gains)): of the errors of locations (from their mean) and
            shrunken gains.
        facts: passes, converged, log_likelihood, gain_mean, gain_sd, course_sd, item_sd, taken_sd, residual_sd
        fit (frame: item, rmsd, n): see `fit.item_fit`
        report (frame: subject, label, n, reason)
    """

    bank: ItemBank
    courses: pd.DataFrame
    gains: pd.DataFrame
    covariance: np.ndarray
    facts: dict = field(default_factory=dict)
    fit: pd.DataFrame | None = None
    report: pd.DataFrame | None = None
    _last: list = field(default_factory=list, init=False, repr=False, compare=False)

    def histories(
        self, person, item, response, course, day, done_person, done_course, done_day, *, with_new: bool = False
    ) -> Histories:
        """Answers and completions as this bank knows items and gains (see `histories`)."""
        return histories(
            person, item, response, course, day, done_person, done_course, done_day, items=self.bank,
            learned=self.gains["course"].to_numpy(object), with_new=with_new,
        )  # fmt: skip

    def likelihood(self, data: Histories) -> AbilityLikelihood:
        """Likelihood of each person's answers by the ability at the last of them."""
        from dagster_project.stats.item_response import longitudinal_kernels as kernels

        grid = self.grid
        tables, place, share = self._tables(data)
        value = np.empty((len(data.persons), grid.nodes), np.float32)
        kernels.likelihoods(data.start, data.row, place, share, tables.log_p, value)
        return AbilityLikelihood(data.persons, grid.node, value, data.answers)

    @property
    def grid(self) -> Grid:
        """Abilities over which is integrated."""
        return Grid(self.bank.nodes)

    def prior(self, data: Histories) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd of each person's ability at the last answer, before it is known how they answered.

        That of the persons with as many completed courses: nothing else about a person is in a score.
        """
        place = _completed_groups(data.last, self.bank.groups["group"].to_numpy(object))
        mean, sd = (self.bank.groups[name].to_numpy(float)[place] for name in ("mean", "sd"))
        return mean, sd

    def posterior(self, data: Histories) -> Posterior:
        """Posterior of each person's ability at the last answer."""
        return self.likelihood(data).posterior(*self.prior(data))

    def offsets(self, data: Histories) -> np.ndarray:
        """Ability at each answer less that at the person's last one, shape (answers,): what was gained since."""
        from dagster_project.stats.item_response import longitudinal_kernels as kernels

        gain = self.gains["shrunken_gain"].to_numpy(float)
        offset = np.empty(len(data.row), np.float32)
        kernels.offsets(data.start, data.before, data.done_start, data.done, gain, offset)
        kernels.to_last(data.start, data.done_start, data.done, gain, data.last, offset)
        return offset

    def error_variance(
        self, data: Histories, mean: np.ndarray, prior_sd: np.ndarray, *, at: np.ndarray | None = None
    ) -> np.ndarray:
        """Variance of each person's posterior mean that errors of locations, gains and questions make.

        Args:
            mean, prior_sd (arrays of shape (persons,)): of the ability at the last answer.
            at (array of shape (times, persons), optional): numbers of completions; the ability after so many of them is
                meant instead.

        Returns:
            array of shape (persons,), or (times, persons).
        """
        from dagster_project.stats.item_response import longitudinal_kernels as kernels

        w = self._informations(data, mean)
        course = self._course_of_row(data)
        times = data.last[None, :] if at is None else at
        out = np.empty(times.shape)
        for then, row in zip(times, out, strict=True):
            kernels.ability_errors(
                data.start, data.row, data.before, data.done_start, data.done, w, prior_sd, course, len(self.courses),
                data.last, then, self.covariance, row,
            )  # fmt: skip
        out += self._question_errors(data, mean, prior_sd, w)
        return out[0] if at is None else out

    def _question_errors(self, data: Histories, mean: np.ndarray, prior_sd: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The part of each variance that errors of the questions' own slopes and difficulties make, by person.

        With the score s = a (y - P) of an answer and its information w, the posterior mean moves by v (s - w (θ - b)) /
        a with the slope, and by v w with the difficulty.
        """
        from dagster_project.stats.item_response import longitudinal_kernels as kernels

        tables, place, share = self._tables(data)
        score = np.empty(len(data.row), np.float32)
        kernels.at_mean(data.start, data.row, place, share, tables.score, mean, self.grid.node, score)
        items = self.bank.items
        known = self.bank.mean_difficulties()
        difficulty, total = known["difficulty"].to_numpy(), known["difficulty_se"].to_numpy() ** 2
        shared = self.courses.set_index("course")["shared_se"].reindex(items["course"]).to_numpy() ** 2
        own = np.maximum(total - shared, 0.0)
        slope, by_slope = items["slope"].to_numpy(), items["slope_se"].to_numpy() ** 2
        covariances = items.filter(regex=r"^slope_intercept(_\d+)?_cov$").bfill(axis=1).iloc[:, 0].to_numpy()
        together = -(covariances + difficulty * by_slope) / slope
        i = data.item_of_row[data.row]
        theta = np.repeat(mean, data.answers) + self.offsets(data)
        from_slope = (score - w * (theta - difficulty[i])) / slope[i]
        value = np.nan_to_num(from_slope**2 * by_slope[i] + w**2 * own[i] + 2 * from_slope * w * together[i])
        information = np.add.reduceat(w, data.start[:-1])
        v = 1.0 / (information + 1.0 / prior_sd**2)
        return v**2 * np.maximum(np.add.reduceat(value, data.start[:-1]), 0.0)

    def sensitivity(
        self, data: Histories, mean: np.ndarray, prior_sd: np.ndarray, member: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """How the weighted sum of the posterior means of each group moves with locations and gains.

        Args:
            member (array of shape (persons,)): group of each person; -1: none.

        Returns:
            array of shape (groups, courses + gains)
        """
        from dagster_project.stats.item_response import longitudinal_kernels as kernels

        w = self._informations(data, mean)
        total = np.zeros((int(member.max(initial=-1)) + 1, len(self.covariance)))
        kernels.sum_of_shifts(
            data.start, data.row, data.before, data.done_start, data.done, w, prior_sd, self._course_of_row(data),
            len(self.courses), data.last, member.astype(np.int64), np.asarray(weight, float), total,
        )  # fmt: skip
        return total

    def mean_error_variance(
        self, data: Histories, mean: np.ndarray, prior_sd: np.ndarray, member: np.ndarray
    ) -> np.ndarray:
        """Variance of the mean of each group's posterior means that these errors make; ``member`` -1: in no group."""
        size = np.maximum(np.bincount(member[member >= 0]), 1)
        b = self.sensitivity(data, mean, prior_sd, member, np.ones(len(member))) / size[:, None]
        return np.maximum(np.einsum("ij,jk,ik->i", b, self.covariance, b), 0.0)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence limits of the gains: course, estimate, std_error, low, high."""
        names = {"gain": "estimate", "gain_se": "std_error"}
        return with_intervals(self.gains[["course", *names]].rename(columns=names), level)

    def summary(self) -> str:
        """What was calibrated, in a few lines."""
        f, linked = self.facts, self.courses["is_linked"]
        return (
            f"{len(self.bank.items)} questions of {len(self.courses)} courses ({int(linked.sum())} linked), "
            f"{int(self.bank.groups['n'].sum())} persons\n"
            f"gain of a completed course {f['gain_mean']:.3f} (sd between courses {f['gain_sd']:.3f}), courses "
            f"within a level sd {f['course_sd']:.3f}, median error of a location "
            f"{self.courses['location_se'].median():.3f}\n"
            f"log likelihood {f['log_likelihood']:.1f} after {f['passes']} passes, "
            f"{'converged' if f['converged'] else 'not converged'}"
        )

    def _course_of_row(self, data: Histories) -> np.ndarray:
        """Place in ``courses`` of every table row's item."""
        import pandas as pd

        place = pd.Index(self.courses["course"]).get_indexer(self.bank.items["course"])
        return place[data.item_of_row].astype(np.int64)

    def _tables(self, data: Histories) -> tuple[MovedTables, np.ndarray, np.ndarray]:
        """Tables of the bank, and where each answer's offset from the last one lies on them; of the last data asked."""
        if self._last and self._last[0] is data:
            return self._last[1]
        _, parameters = self.bank.parameters()
        place, share, low, high = places(self.offsets(data), self.grid.spacing)
        tables = MovedTables(parameters.slope, parameters.step, data.layout, self.grid, low, high)
        self._last[:] = [data, (tables, place, share)]
        return tables, place, share

    def _informations(self, data: Histories, mean: np.ndarray) -> np.ndarray:
        from dagster_project.stats.item_response import longitudinal_kernels as kernels

        tables, place, share = self._tables(data)
        w = np.empty(len(data.row), np.float32)
        kernels.at_mean(data.start, data.row, place, share, tables.information, mean, self.grid.node, w)
        return w


def _completed_groups(completed: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Place of each person's group by completed courses; of a group that is too small, the one with fewer courses."""
    at = {name: k for k, name in enumerate(names)}
    place = np.zeros(len(completed), int)
    found = 0
    for low, high, name in GROUPS:
        found = at.get(name, found)
        place[(completed >= low) & (completed <= high)] = found
    return place


def with_groups(found: LongitudinalBank, data: Histories) -> LongitudinalBank:
    """The bank with the distribution of ability at the last answer by number of completed courses (EM)."""
    import pandas as pd

    from dagster_project.stats.item_response import kernels

    size = [int(((data.last >= low) & (data.last <= high)).sum()) for low, high, _ in GROUPS]
    names = [name for (_, _, name), n in zip(GROUPS, size, strict=True) if n >= SMALLEST_GROUP] or ["all"]
    place = _completed_groups(data.last, np.array(names, object))
    n = np.bincount(place, minlength=len(names))
    likelihood = replace(found, bank=replace(found.bank, groups=_standard(names))).likelihood(data)
    mean, variance = np.empty(len(place)), np.empty(len(place))
    mu, sd = np.zeros(len(names)), np.ones(len(names))
    for _ in range(500):
        kernels.moments_under_normal_priors(
            likelihood.value, likelihood.node, mu[place], sd[place], mean, variance, np.empty((0, 0), np.float32)
        )
        new = np.bincount(place, mean, len(names)) / n
        spread = np.sqrt(np.bincount(place, variance + (mean - new[place]) ** 2, len(names)) / n)
        change = max(np.abs(new - mu).max(), np.abs(spread - sd).max())
        mu, sd = new, np.maximum(spread, 0.05)
        if change < 1e-5:
            break
    groups = pd.DataFrame({"group": names, "mean": mu, "sd": sd, "n": n})
    return replace(found, bank=replace(found.bank, groups=groups))


def _standard(names: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"group": names, "mean": 0.0, "sd": 1.0})


def on_scale(found: LongitudinalBank, scale: float, shift: float) -> LongitudinalBank:
    """The bank with abilities ``scale`` × ability + ``shift``; errors of a link are not added."""
    from dagster_project.stats.item_response import linking

    gains, courses = found.gains.copy(), found.courses.copy()
    for name in ("gain", "gain_se", "shrunken_gain", "shrunken_se"):
        gains[name] = scale * gains[name]
    courses["location"] = scale * courses["location"] + shift
    courses["location_se"], courses["shared_se"] = scale * courses["location_se"], scale * courses["shared_se"]
    facts = {name: scale * value if name in _LENGTHS else value for name, value in found.facts.items()}
    return replace(
        found, bank=linking.on_scale(found.bank, scale, shift), courses=courses, gains=gains, facts=facts,
        covariance=scale**2 * found.covariance,
    )  # fmt: skip


_LENGTHS = {"gain_mean", "gain_sd", "course_sd", "item_sd", "taken_sd", "residual_sd"}


def item_frame(data: Histories, slope: np.ndarray, step: np.ndarray, covariances: np.ndarray) -> pd.DataFrame:
    """Items as `ItemBank` has them, from the covariance of (slope, steps) of each."""
    import pandas as pd

    observed = data.layout.observed
    frame = {"item": data.items, "slope": slope, "slope_se": np.sqrt(covariances[:, 0, 0])}
    # A graded item's steps keep the numbers of the categories that they lead to.
    for k in range(1, max(int(seen[-1]) for seen in observed) + 1):
        at = np.array([np.flatnonzero(seen[1:] == k)[0] if (seen[1:] == k).any() else -1 for seen in observed])
        has = np.flatnonzero(at >= 0)
        value = np.full((3, len(observed)), np.nan)
        value[0, has] = step[data.layout.step_start[:-1][has] + at[has]]
        value[1, has] = np.sqrt(covariances[has, at[has] + 1, at[has] + 1])
        value[2, has] = covariances[has, 0, at[has] + 1]
        frame[f"intercept_{k}"], frame[f"intercept_{k}_se"], frame[f"slope_intercept_{k}_cov"] = value
    return pd.DataFrame(frame | {"n": data.counts.sum(axis=1)})
