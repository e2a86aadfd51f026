"""Employers, who works for them, and by how much their people's skills differ: what skill benchmarks have to recover.

An employer's people are abler or less able in each skill by a planted shift, a general part and one of the skill's own.
Over all members the shifts of a skill have mean zero and standard deviation SPREAD, and members differ by as much less
from their colleagues: the distribution of abilities is that of a university without employers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dagster_project.simulate import world
from dagster_project.simulate.population import Population
from dagster_project.simulate.skills import SKILLS

SPREAD = 0.4  # sds of ability between employers' people
GENERAL = 0.75  # share of the variance between employers that all skills have in common
LEARNERS_PER_EMPLOYER = 250
FEWEST = 40
COUNTRIES = ("US", "IN", "GB", "BR", "DE", "NG")
SIZE_BANDS = ("1-50", "51-500", "501-5000", "5001+")


@dataclass(frozen=True)
class Employers:
    """Employers by number, and memberships; a learner has one employer at most."""

    country: np.ndarray
    size_band: np.ndarray
    member: np.ndarray  # learner
    employer: np.ndarray  # of each member
    since: np.ndarray  # datetime64[D], up to the last day
    until: np.ndarray  # datetime64[D], may lie ahead
    shift: np.ndarray  # (employers, skills) planted, in sds of ability

    def __len__(self) -> int:
        return len(self.country)

    @property
    def ids(self) -> np.ndarray:
        """Ids by employer number, "E00001" onwards."""
        return np.array([f"E{i + 1:05d}" for i in range(len(self))])

    @property
    def industry(self) -> np.ndarray:
        """Industries by employer number, in turn."""
        return np.array(world.INDUSTRIES)[np.arange(len(self)) % len(world.INDUSTRIES)]

    @classmethod
    def make(cls, population: Population, registered: np.ndarray) -> "Employers":
        """Employers of a population; `registered` are the registration days of all learners, open ones last."""
        rng = np.random.default_rng([population.seed, 17])
        learners, n, people = population.learners, len(population), len(registered)
        count = max(FEWEST, people // LEARNERS_PER_EMPLOYER)
        start = world.terms().start[learners["first_term"]]
        sponsored = np.flatnonzero(learners["is_sponsored"])
        after = np.flatnonzero(~learners["is_sponsored"] & (rng.random(n) < 0.15))
        opens = n + np.flatnonzero(rng.random(people - n) < 0.5)
        since = np.concatenate(
            [
                start[sponsored] - rng.integers(1, 900, len(sponsored)),
                start[after] + rng.integers(5, 200, len(after)),
                registered[opens] + rng.integers(0, 100, len(opens)),
            ]
        )
        until = since + rng.integers(900, 2000, len(since)) + 100
        member = np.concatenate([sponsored, after, opens])
        known = since <= np.datetime64(world.LAST_DAY)
        weight = rng.gamma(0.8, size=count) + 0.05
        employer = rng.choice(count, known.sum(), p=weight / weight.sum())
        shift = np.sqrt(GENERAL) * rng.standard_normal((count, 1))
        shift = shift + np.sqrt(1 - GENERAL) * rng.standard_normal((count, len(SKILLS)))
        if len(employer):
            shift = shift - shift[employer].mean(axis=0)
            shift *= SPREAD / np.maximum(shift[employer].std(axis=0), 1e-9)
        return cls(
            country=np.array(COUNTRIES)[rng.integers(0, len(COUNTRIES), count)],
            size_band=np.array(SIZE_BANDS)[rng.integers(0, len(SIZE_BANDS), count)],
            member=member[known],
            employer=employer,
            since=since[known],
            until=until[known],
            shift=shift,
        )

    def moved(self, theta: np.ndarray) -> np.ndarray:
        """Abilities, (learners, skills), with the employers' shifts; mean and sd over the members stay."""
        out = theta.copy()
        out[self.member] = np.sqrt(1 - SPREAD**2) * theta[self.member] + self.shift[self.employer]
        return out

    def describe(self) -> dict[str, Any]:
        """The planted truth: shift by organization and skill."""
        shifts = [{f"S{s + 1:02d}": round(float(x), 6) for s, x in enumerate(row)} for row in self.shift]
        return {"organizations": dict(zip(self.ids.tolist(), shifts, strict=True))}
