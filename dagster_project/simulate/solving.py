"""Solving: value maps fitted once on a large population, then coefficients that meet every planted percent.

`python -m dagster_project.simulate.solving` writes `solved.json` anew (10 CPU minutes, 1 GB).
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
from scipy.special import expit

from dagster_project.simulate import courses as course
from dagster_project.simulate import maps
from dagster_project.simulate.drivers import BY_NAME, DRIVERS
from dagster_project.simulate.population import (
    ABILITY,
    MOTIVATION,
    SHAPES,
    Population,
    Solved,
    behave,
    draw,
    draw_learners,
    linear,
    stayed,
)
from dagster_project.simulate.truth import (
    BASE_RATE,
    EXACT_NULLS,
    SOLVED_FILE,
    SOLVING_SEEDS,
    STUDENTS,
    estimand,
    values,
)


def _universities(constants: Solved, seeds: Sequence[int], students: int) -> list[Population]:
    return [draw(seed, students, constants) for seed in seeds]


def _with(populations: Sequence[Population], constants: Solved) -> list[Population]:
    """The same draws under other constants (of which the items do not depend)."""
    return [replace(p, solved=constants) for p in populations]


def _pool(populations: Sequence[Population], get: Callable[[Population], np.ndarray]) -> np.ndarray:
    """Values of `get(population)` (learners, SLOTS) over the analysis rows of all."""
    return np.concatenate([get(p)[values(p, "has_quiz")[1]] for p in populations])


def fit_maps(seeds: Sequence[int] = SOLVING_SEEDS, students: int = STUDENTS) -> tuple[Solved, list[Population]]:
    """Value maps and scales, and the universities drawn with them. Coefficients are still zero."""
    scale = {}
    people = [draw_learners(np.random.default_rng(seed), students) for seed in seeds]
    for name, weights in (("motivation", MOTIVATION), ("ability", ABILITY)):
        index = np.concatenate([linear(p, weights)[p["matured"]] for p in people])
        scale[name] = (float(index.mean()), float(index.std()))
    standard = np.array([-2.58, -0.674, 0, 0.674, 2.58])
    aims = {  # q25, q75, floor, ceiling, median
        "peer_part": (0.1, 0.4, 0.02, 0.78, 0.22),
        "quiz_part": (0.27, 0.85, 0.04, 0.97, 0.55),
        "staff_part": (0.68, 0.88, 0.3, 0.97, 0.8),
        "practice": (0.031, 0.229, 0.0, 0.476, 0.115),
        "reading": (0.22, 0.375, 0.05, 0.6, 0.3),
        "other": (0.03, 0.18, 0.0, 0.4, 0.09),
        "centroid": (0.61, 0.68, 0.5, 1, 0.645),
        "max_weight": (0.2, 0.25, 0.08, 0.5, 0.225),
        "video_centroid": (0.5, 0.59, 0.2, 0.9, 0.545),
        "late_penalty": (0.25, 0.75, 0.0, 1.0, 0.5),
    }
    fitted = {name: maps.fit(standard, a[0], a[1], floor=a[2], ceiling=a[3], median=a[4]) for name, a in aims.items()}
    constants = Solved(fitted, scale | {"pace": (0.0, 1.0)}, {}, {}, dict.fromkeys(BY_NAME, 0.0), 0.0)
    populations = _universities(constants, seeds, students)
    for name, a in aims.items():
        index = _pool(populations, lambda p, name=name: p.courses.designs[name][p.taken_course])
        fitted[name] = maps.fit(index, a[0], a[1], floor=a[2], ceiling=a[3], median=a[4])
    _fit_parts(populations, fitted)
    populations = _universities(constants, seeds, students)
    lessons = _pool(populations, lambda p: p.pace)
    constants = replace(constants, scale=scale | {"pace": (float(lessons.mean()), float(lessons.std()))})
    populations = _with(populations, constants)
    row = {
        "first_days": "first_days",
        "first_hours": "first_seconds",
        "days": "days",
        "hours": "seconds",
        "grade": "grade",
    }
    identity = maps.ValueMap((-1e9, 1e9), (-1e9, 1e9))
    for name, (floor, q25, median, q75, ceiling) in SHAPES.items():
        index = np.concatenate([_index(p, name, row, identity)[_sample(p, name)] for p in populations])
        fitted[name] = maps.fit(index, q25, q75, floor=floor, ceiling=ceiling, median=median)
    return constants, _with(populations, constants)


def _sample(population: Population, stage: str) -> np.ndarray:
    rows = values(population, "has_quiz")[1]
    return rows & stayed(population) if stage in ("days", "hours", "grade") else rows


def _index(population: Population, name: str, row: Mapping[str, str], identity: maps.ValueMap) -> np.ndarray:
    """The latent index of a behaviour, caught where its value map is applied."""
    caught: list[np.ndarray] = []

    class Catch(maps.ValueMap):
        def __call__(self, index: np.ndarray) -> np.ndarray:
            caught.append(index)
            raise StopIteration

    order = list(row)
    stage = population.solved.maps | {name: Catch(identity.points, identity.values)}
    for later in order[order.index(name) + 1 :]:
        stage[later] = identity
    with contextlib.suppress(StopIteration):
        behave(replace(population, solved=replace(population.solved, maps=stage)), population.learners)
    return caught[0]


def _fit_parts(populations: Sequence[Population], fitted: dict[str, maps.ValueMap]) -> None:
    """Moves the maps of the parts until the shares they lead to have the printed quartiles."""
    aims = {"quiz_part": (course.QUIZ, 0.25, 0.8), "staff_part": (course.STAFF, 0.5, 0.85)}
    rows = [(p.courses.designs, p.taken_course[values(p, "has_quiz")[1]]) for p in populations]
    for _ in range(24):
        shares = np.concatenate([course.grade_shares(course.grade_mix(d, fitted))[taken] for d, taken in rows])
        for name, (kind, q25, q75) in aims.items():
            share = shares[:, kind][shares[:, kind] > 0]
            gap = np.array([q25, q75]) - np.quantile(share, [0.25, 0.75])
            fitted[name] = _moved(fitted[name], *(0.6 * gap))
        parts = []
        for d, taken in rows:
            practice = fitted["practice"](d["practice"])
            reading = (1 - practice) * fitted["reading"](d["reading"])
            video = (1 - practice - reading) * (1 - fitted["other"](d["other"]))
            parts.append(np.stack([reading, video])[:, taken])
        reading, video = np.concatenate(parts, axis=1)
        fitted["reading"] = _moved(
            fitted["reading"], 0.193 - np.quantile(reading, 0.25), 0.326 - np.quantile(reading, 0.75)
        )
        # More of the other kinds means fewer videos.
        fitted["other"] = _moved(fitted["other"], np.quantile(video, 0.75) - 0.645, np.quantile(video, 0.25) - 0.449)


def _moved(value_map: maps.ValueMap, lower: float, upper: float) -> maps.ValueMap:
    """The map with its quartile values shifted, median and tails along, within 0.005 and 0.97 and monotone."""
    lowest, q25, median, q75, highest = value_map.values
    q25, q75 = np.clip([q25 + lower, max(q75 + upper, q25 + lower + 0.01)], 0.005, 0.97)
    median = np.clip(median + (lower + upper) / 2, q25, q75)
    values = np.array([min(lowest, q25), q25, median, q75, max(highest, q75)])
    return maps.ValueMap(value_map.points, tuple(values.tolist()))


def solve(constants: Solved, populations: list[Population], rounds: int = 8, tolerance: float = 0.03) -> Solved:
    """Coefficients, centres and intercept with which every driver's planted percent is met."""
    constants = replace(constants, exchange=exchange_rates(populations))
    centre = {
        d.name: float(np.concatenate([values(p, d.name)[0][values(p, d.name)[1]] for p in populations]).mean())
        for d in DRIVERS
        if d.kind != "program"
    }
    unit = {d.name: 0.01 * BASE_RATE / ((d.high - d.low) * 0.165) for d in DRIVERS}  # coefficient per percent, about
    beta = {d.name: 0.0 if d.name in EXACT_NULLS else unit[d.name] * d.planted for d in DRIVERS}
    beta["has_hands_on"] = beta["stackable_completed"] = beta["dropped_after_deadline"] = 0.0
    if any(constants.coefficient.values()):
        beta = dict(constants.coefficient)  # go on from there
    constants = replace(constants, centre=centre, coefficient=beta, intercept=constants.intercept or 1.1)
    slope = dict(unit)
    last: dict[str, tuple[float, float]] = {}
    for number in range(rounds):
        populations = _with(populations, constants)
        index = np.concatenate([p.logit[p.learners["matured"]] for p in populations])
        shift = 0.0
        for _ in range(6):  # Newton: the base rate holds in every round
            p = expit(index + shift)
            shift += (BASE_RATE - p.mean()) / (p * (1 - p)).mean()
        constants = replace(constants, intercept=float(constants.intercept + shift))
        populations = _with(populations, constants)
        met = {d.name: estimand(populations, d.name)["planted"] for d in DRIVERS if d.name not in EXACT_NULLS}
        gap = {name: BY_NAME[name].planted - value for name, value in met.items()}
        worst = max(gap, key=lambda name: abs(gap[name]))
        print(f"round {number + 1}: largest gap {gap[worst]:+.3f} points ({worst})", flush=True)
        if abs(gap[worst]) <= tolerance:
            break
        for name, value in met.items():  # secant steps
            if name in last and abs(last[name][1] - value) > 0.2:
                secant = (last[name][0] - beta[name]) / (last[name][1] - value)
                slope[name] = float(np.clip(secant, 0.6 * unit[name], 1.7 * unit[name]))
        last = {name: (beta[name], value) for name, value in met.items()}
        beta = beta | {name: beta[name] + slope[name] * gap[name] for name in met}
        beta = beta | _ungraded_step(constants, gap, unit)
        constants = replace(constants, coefficient=beta)
    return constants


UNGRADED = ("ungraded_practice_share", "ungraded_video_share", "ungraded_reading_share")


def exchange_rates(populations: Sequence[Population]) -> dict[str, dict[str, float]]:
    """How the other ungraded shares give way when one grows: least-squares slopes within programs."""
    shares = {name: _pool(populations, lambda p, name=name: p.design[name]) for name in UNGRADED}
    program = np.concatenate(
        [
            np.broadcast_to(p.learners["program"][:, None], p.taken_course.shape)[values(p, "has_quiz")[1]]
            for p in populations
        ]
    )
    size = np.bincount(program)
    within = {name: x - (np.bincount(program, x) / size)[program] for name, x in shares.items()}
    return {
        one: {
            other: float(within[other] @ within[one] / (within[one] @ within[one]))
            for other in UNGRADED
            if other != one
        }
        for one in UNGRADED
    }


def _ungraded_step(constants: Solved, gap: Mapping[str, float], unit: Mapping[str, float]) -> dict[str, float]:
    """Joint step of the three ungraded shares: setting one scales the others, so their figures hang together."""
    names = UNGRADED
    reaction = np.array([[constants.exchange[one].get(other, 1.0) for other in names] for one in names])
    step = np.linalg.solve(reaction, [unit[name] * gap[name] for name in names])
    return {name: constants.coefficient[name] + float(s) for name, s in zip(names, step, strict=True)}


def main() -> None:
    """Solves everything anew and writes `solved.json`."""
    constants, populations = fit_maps()
    constants = solve(constants, populations[:4])  # near enough, and four times as fast
    constants = solve(constants, populations, rounds=5)
    content = asdict(constants)
    SOLVED_FILE.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
