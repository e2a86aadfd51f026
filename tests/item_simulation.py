"""Answers simulated from known item parameters, for the tests of the item response models."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Answers:
    """Long answers (``person``, ``item``, ``response``) and what they were drawn from."""

    person: np.ndarray
    item: np.ndarray
    response: np.ndarray
    slope: np.ndarray
    step: np.ndarray  # (items, steps) intercepts
    ability: np.ndarray

    @property
    def long(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.person, self.item, self.response

    @property
    def difficulty(self) -> np.ndarray:
        return -self.step[:, 0] / self.slope


def simulate(rng, ability, items, *, missing=0.0, observed=None, steps=1, slope=None, difficulty=None, step=None):
    """Draw answers: slopes uniform on .6 … 1.8, difficulties standard normal unless given."""
    ability = np.asarray(ability, float)
    slope = rng.uniform(0.6, 1.8, items) if slope is None else np.asarray(slope, float)
    if step is None:
        difficulty = rng.standard_normal(items) if difficulty is None else np.asarray(difficulty, float)
        offsets = np.linspace(-0.8, 0.8, steps) if steps > 1 else np.zeros(1)
        step = -slope[:, None] * (difficulty[:, None] + offsets[None, :])
    if observed is None:
        observed = rng.random((len(ability), items)) >= missing
    person, item = np.nonzero(observed)
    logit = slope[item] * ability[person]
    uniform = rng.random(len(person))
    response = np.zeros(len(person), np.int64)
    for k in range(step.shape[1]):
        response += uniform * (1.0 + np.exp(-(logit + step[item, k]))) < 1.0
    return Answers(person, item, response, slope, step, ability)
