"""Course designs and the items that realise them.

A design is drawn as latent normals; value maps turn them into shares, weights and centroids; items are then placed so
that the columns computed from the items, which are the drivers, come as near to those values as whole items allow.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from dagster_project.simulate import world
from dagster_project.simulate.maps import ValueMap

KINDS = (
    "video",
    "reading",
    "practice",
    "other",
    "quiz",
    "staff_graded",
    "peer_graded",
    "programming",
    "discussion",
    "team",
    "plugin",
)
VIDEO, READING, PRACTICE, OTHER, QUIZ, STAFF, PEER, PROGRAMMING, DISCUSSION, TEAM, PLUGIN = range(11)
MEMBERS = (STAFF, PEER, PROGRAMMING, DISCUSSION, TEAM)  # hands-on
PREVALENCE = {STAFF: 0.36, PEER: 0.34, PROGRAMMING: 0.22, DISCUSSION: 0.1, TEAM: 0.07, PLUGIN: 0.15}
QUIZ_BESIDE_STAFF, QUIZ_ALONE = 0.17, 0.8
WEEKS, WEEKS_SHARE = np.array([4, 5, 6, 7, 8]), np.array([0.28, 0.25, 0.19, 0.15, 0.13])
FIRST_TERM, LATER, OPEN = range(3)  # roles of a course


def stratified_normal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Normals (rows, columns) whose distribution over the rows is even: one draw in each of `rows` equal slices."""
    slices = rng.permuted(np.tile(np.arange(rows), (columns, 1)), axis=1)
    return ndtri((slices + rng.random((columns, rows))) / rows).T


@dataclass(frozen=True)
class Designs:
    """Latent designs of courses, before any value map."""

    program: np.ndarray  # (courses,), -1 for open courses
    role: np.ndarray
    popularity: np.ndarray  # log weight in learners' choice
    appeal: np.ndarray  # how much more motivated learners choose it
    challenge: np.ndarray  # how much abler learners choose it
    latent: np.ndarray  # (courses, world.DESIGN)
    split: np.ndarray  # (courses, kinds) how the rest is split among other kinds
    shock: np.ndarray  # (courses,) on the logit of retention
    burden: np.ndarray  # (courses,) log weight in the choice which course to drop

    def __getitem__(self, name: str) -> np.ndarray:
        return self.latent[:, world.DESIGN.index(name)]

    def __len__(self) -> int:
        return len(self.program)


def draw_designs(rng: np.random.Generator) -> Designs:
    """Designs of all courses: first-term courses by program, later courses by program, open courses."""
    programs = len(world.programs())
    first = np.repeat(np.arange(programs), world.FIRST_TERM_COURSES)
    later = np.repeat(np.arange(programs), world.LATER_COURSES)
    program = np.concatenate([first, later, np.full(world.OPEN_COURSES, -1)])
    role = np.repeat([FIRST_TERM, LATER, OPEN], [len(first), len(later), world.OPEN_COURSES])
    n = len(program)
    normal = np.concatenate([stratified_normal(rng, count, len(world.DESIGN) + 2) for count in np.bincount(role)])
    factor = normal[:, -1]
    loading = np.array([world.PROGRAM_LOADING[name] for name in world.DESIGN])
    on_factor = np.array([world.FACTOR_LOADING.get(name, 0.0) for name in world.DESIGN])
    own = factor[:, None] * on_factor + normal[:, :-2] * np.sqrt(1 - on_factor**2)
    habit = np.where(program[:, None] >= 0, world.programs().design[program], normal[:, :-2])
    designs = Designs(
        program=program,
        role=role,
        popularity=rng.normal(0, 0.3, n),
        appeal=0.4 * factor + 0.3 * normal[:, -2],
        challenge=rng.normal(0, 1.0, n),
        latent=loading * habit + np.sqrt(1 - loading**2) * own,
        split=rng.gamma(2.0, size=(n, len(KINDS))) + 0.2,
        shock=rng.normal(0, 0.1, n),
        burden=rng.normal(0, 4.0, n),
    )
    # Shares are drawn evenly over the courses that have the kind, not only over all: these are few.
    present = draw_types(designs)
    for name, kind in (("peer_part", PEER), ("quiz_part", QUIZ), ("staff_part", STAFF)):
        j = world.DESIGN.index(name)
        users = np.flatnonzero(present[:, kind] & (role == FIRST_TERM))
        rank = np.argsort(np.argsort(own[users, j]))
        even = ndtri((rank + 0.5) / len(users))
        designs.latent[users, j] = loading[j] * habit[users, j] + np.sqrt(1 - loading[j] ** 2) * even
    return designs


class GradeMix(NamedTuple):
    """Which graded kinds a course has and what decides their shares of the grade. Arrays of any one shape."""

    present: np.ndarray  # (…, kinds) bool; `other` is filled in by `grade_shares`
    peer: np.ndarray  # share of the peer-graded, if present
    quiz: np.ndarray  # quiz's part of what peers leave
    staff: np.ndarray  # staff's part of what peers and quiz leave
    split: np.ndarray  # (…, kinds)


def draw_types(designs: Designs) -> np.ndarray:
    """Which graded kinds each course has (courses, kinds)."""
    present = np.zeros((len(designs), len(KINDS)), bool)
    names = ("staff", "peer", "programming", "discussion", "team", "plugin")
    for kind, name in zip((*MEMBERS, PLUGIN), names, strict=True):
        present[:, kind] = designs[name] > ndtri(1 - PREVALENCE[kind])
    quiz = np.where(present[:, STAFF], QUIZ_BESIDE_STAFF, QUIZ_ALONE)
    present[:, QUIZ] = designs["quiz"] > ndtri(1 - quiz)
    return present


def grade_mix(designs: Designs, maps: dict[str, ValueMap]) -> GradeMix:
    """The grade mix of each course."""
    parts = (maps[name](designs[name]) for name in ("peer_part", "quiz_part", "staff_part"))
    return GradeMix(draw_types(designs), *parts, designs.split)


def grade_shares(mix: GradeMix) -> np.ndarray:
    """Shares of the grade by kind (…, kinds), 1 in sum.

    Peers take theirs first, quizzes a part of the rest whoever else is there, staff a part of what then remains, the
    others split it. So a quiz share says nothing about which other kinds a course has: "the others in their usual mix".
    Graded items of kind `other` (exams) stand in where a course has nothing else to split it.
    """
    present = mix.present.copy()
    rest = [PROGRAMMING, DISCUSSION, TEAM, PLUGIN]
    present[..., OTHER] = ~present[..., rest].any(axis=-1)
    shares = np.zeros(present.shape)
    shares[..., PEER] = np.where(present[..., PEER], mix.peer, 0)
    left = 1 - shares[..., PEER]
    shares[..., QUIZ] = np.where(present[..., QUIZ], mix.quiz, 0) * left
    left = left - shares[..., QUIZ]
    shares[..., STAFF] = np.where(present[..., STAFF], mix.staff, 0) * left
    left = left - shares[..., STAFF]
    others = [*rest, OTHER]
    split = np.where(present[..., others], mix.split[..., others], 0)
    shares[..., others] = left[..., None] * split / split.sum(axis=-1, keepdims=True)
    return shares


@dataclass(frozen=True)
class Courses:
    """Courses as they stand in the landing files: their columns, and their items one below the other."""

    designs: Designs
    mix: GradeMix
    weeks: np.ndarray
    has_deadlines: np.ndarray
    columns: dict[str, np.ndarray]  # drivers and controls, one value a course
    item_start: np.ndarray  # (courses + 1,) where a course's items begin
    item_course: np.ndarray
    item_kind: np.ndarray
    item_week: np.ndarray
    item_minutes: np.ndarray
    item_weight: np.ndarray  # nan: ungraded
    item_due_day: np.ndarray  # -1: none
    item_late_penalty: np.ndarray  # nan: none
    item_group: np.ndarray  # 0: none

    def __len__(self) -> int:
        return len(self.weeks)

    @property
    def item_is_graded(self) -> np.ndarray:
        """Items with a weight."""
        return ~np.isnan(self.item_weight)


def build(rng: np.random.Generator, designs: Designs, maps: dict[str, ValueMap]) -> Courses:
    """Items for every design, and the columns computed from them."""
    mix = grade_mix(designs, maps)
    shares = grade_shares(mix)
    limits = ndtri(np.cumsum(WEEKS_SHARE)[:-1])
    weeks = WEEKS[np.searchsorted(limits, designs["weeks"])]
    per_week = np.clip(11 + 2.5 * designs["density"], 5, 18)
    practice = maps["practice"](designs["practice"])
    reading = (1 - practice) * maps["reading"](designs["reading"])
    other = (1 - practice - reading) * maps["other"](designs["other"])
    ungraded = np.stack([1 - practice - reading - other, reading, practice, other], axis=1)
    values = {name: maps[name](designs[name]) for name in ("centroid", "max_weight", "video_centroid", "late_penalty")}
    group_share = np.clip(0.25 * (designs["assignment_group"] + 0.3), 0, 0.8)
    has_deadlines = rng.random(len(designs)) > 0.04
    parts = []
    for c in range(len(designs)):
        lessons = _lessons(rng, int(weeks[c]), ungraded[c], float(per_week[c]), float(values["video_centroid"][c]))
        graded = _graded(
            rng,
            int(weeks[c]),
            shares[c],
            float(values["max_weight"][c]),
            float(values["centroid"][c]),
            float(values["late_penalty"][c]),
            float(group_share[c]),
        )
        if not has_deadlines[c]:
            graded[4][:] = -1
        parts.append([np.concatenate(pair) for pair in zip(lessons, graded, strict=True)])
        order = np.argsort(parts[-1][1], kind="stable")
        parts[-1] = [column[order] for column in parts[-1]]
    counts = np.array([len(part[0]) for part in parts])
    kind, week, minutes, weight, due, penalty, group = (np.concatenate(column) for column in zip(*parts, strict=True))
    courses = Courses(
        designs,
        mix,
        weeks,
        has_deadlines,
        {},
        np.concatenate([[0], np.cumsum(counts)]),
        np.repeat(np.arange(len(designs)), counts),
        kind,
        week,
        minutes,
        weight,
        due,
        penalty,
        group,
    )
    courses.columns.update(_columns(courses))
    return courses


def _whole(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to the shares, `total` in sum (largest remainders)."""
    exact = shares * total
    counts = np.floor(exact).astype(int)
    short = total - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:short]] += 1
    return counts


def _lessons(
    rng: np.random.Generator, weeks: int, shares: np.ndarray, per_week: float, centroid: float
) -> list[np.ndarray]:
    """Ungraded items: kind, week, minutes and the empty columns of graded ones."""
    total = round(per_week * weeks)
    counts = _whole(shares, total)
    kind = np.repeat(np.arange(4), counts)
    week = np.empty(total, int)
    minutes = np.round(np.choose(kind, [0, 1, 1, 1]) * rng.uniform(4, 15, total), 2)
    at = 0
    for count in counts:  # even over the weeks, what does not divide at random
        spare = rng.permutation(weeks)[: count % weeks]
        week[at : at + count] = 1 + np.concatenate([np.tile(np.arange(weeks), count // weeks), spare])
        at += count
    videos = int(counts[0])
    in_week = np.bincount(week[:videos], minlength=weeks + 1)[1:]
    used = np.flatnonzero(in_week) + 1
    tilt = 0.0
    for _ in range(30):  # video minutes a week grow or fall geometrically until their centroid is met
        part = np.exp(tilt * (used - used.mean()))
        part /= part.sum()
        mean = part @ used
        spread = part @ (used - mean) ** 2
        if spread < 1e-9 or abs(centroid * weeks - mean) < 1e-7:
            break
        tilt = float(np.clip(tilt + (centroid * weeks - mean) / spread, -1.5, 1.5))
    in_minutes = np.zeros(weeks + 1)
    in_minutes[used] = part * videos * rng.uniform(6, 9)
    minutes[:videos] = np.round(np.maximum(in_minutes[week[:videos]] / in_week[week[:videos] - 1], 0.5), 2)
    none = np.full(total, np.nan)
    return [kind, week, minutes, none, np.full(total, -1), none, np.zeros(total, int)]


def _graded(
    rng: np.random.Generator,
    weeks: int,
    shares: np.ndarray,
    largest: float,
    centroid: float,
    penalty: float,
    grouped: float,
) -> list[np.ndarray]:
    """Graded items whose weights meet the shares and the largest weight, and whose weeks meet the centroid."""
    project = STAFF if shares[STAFF] > largest else int(np.argmax(shares))
    largest = round(min(largest, float(shares[project]) * 0.999), 4)
    # Size of the others, so that the number of assignments hardly tells the weight of the largest.
    usual = min(float(rng.uniform(0.075, 0.125)), 0.8 * largest)
    kinds, weights = [], []
    for kind in np.flatnonzero(shares > 0):
        left = float(shares[kind]) - (largest if kind == project else 0.0)
        part = rng.uniform(0.9, 1.1, int(np.ceil(left / usual)))
        own = [*(part / part.sum() * left)] if left > 1e-6 else []
        own = [largest, *own] if kind == project else own
        kinds += [kind] * len(own)
        weights += own
    kind, weight = np.array(kinds), np.round(weights, 6)
    is_project = weight == weight.max()
    weight[np.argmin(weight)] += round(1 - weight.sum(), 6)
    weight = np.round(weight, 6)
    first = int(np.argmax(np.where(is_project, 0, weight)))  # the first deadline: never the project, never negligible
    week = np.clip(np.round(centroid * weeks + rng.normal(0, 1.2, len(weight))), 2, weeks).astype(int)
    week[is_project] = min(weeks, week.max())
    week[first] = 2
    free = np.arange(len(weight)) != first
    for _ in range(40):  # shift single items by a week while that brings the centroid nearer
        gap = centroid * weeks - weight @ week
        step = int(np.sign(gap)) or 1
        can = free & (week + step >= 2) & (week + step <= weeks)
        after = np.where(can, np.abs(gap - step * weight), np.inf)
        best = int(np.argmin(after))
        if after[best] >= abs(gap):
            break
        week[best] += step
    due = week * 7 - 1
    due[first] = world.FIRST_DUE_DAY
    n = len(weight)
    late = np.full(n, np.nan)
    late[rng.permutation(n)[: round(penalty * n)]] = 0.1
    group = np.zeros(n, int)
    group[rng.permutation(n)[: round(grouped * n)]] = 1
    return [kind, week, np.round(rng.uniform(20, 90, n), 2), weight, due, late, group]


def _columns(courses: Courses) -> dict[str, np.ndarray]:
    """Every design column of module `drivers`, from the items alone."""
    n, most = len(courses), int(courses.weeks.max())
    course, kind, week = courses.item_course, courses.item_kind, courses.item_week
    graded = courses.item_is_graded
    weight = np.where(graded, courses.item_weight, 0)
    taught = np.arange(1, most + 1) <= courses.weeks[:, None]

    def weekly(mask: np.ndarray, value: np.ndarray | None = None) -> np.ndarray:
        at = course[mask] * most + week[mask] - 1
        return np.bincount(at, None if value is None else value[mask], n * most).reshape(n, most)

    def count(mask: np.ndarray, value: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(course[mask], None if value is None else value[mask], n)

    def variation(x: np.ndarray) -> np.ndarray:
        mean = x.sum(axis=1) / courses.weeks
        deviation = np.sqrt((np.where(taught, x - mean[:, None], 0) ** 2).sum(axis=1) / courses.weeks)
        return np.divide(deviation, mean, out=np.full(n, np.nan), where=mean > 0)

    def centroid(x: np.ndarray) -> np.ndarray:
        total = x.sum(axis=1)
        return np.divide(x @ np.arange(1, most + 1), total * courses.weeks, out=np.full(n, np.nan), where=total > 0)

    weeks_of = {name: weekly(~graded & (kind == k)) for name, k in (("video", 0), ("reading", 1), ("practice", 2))}
    weeks_of["graded"] = weekly(graded)
    weeks_of["video_minutes"] = weekly(kind == VIDEO, courses.item_minutes)
    weeks_of["graded_weight"] = weekly(graded, weight)
    assignments, lessons = count(graded), count(~graded)
    shares = {k: count(graded & (kind == k), weight) for k in range(QUIZ, PLUGIN + 1)}
    columns = {
        "has_staff_graded": shares[STAFF] > 0,
        "has_peer_graded": shares[PEER] > 0,
        "has_quiz": shares[QUIZ] > 0,
        "has_programming": shares[PROGRAMMING] > 0,
        "has_discussion": shares[DISCUSSION] > 0,
        "has_team": shares[TEAM] > 0,
        "has_plugin": shares[PLUGIN] > 0,
        "has_hands_on": np.any([shares[k] > 0 for k in MEMBERS], axis=0),
    }
    columns = {name: value.astype(float) for name, value in columns.items()}
    columns |= {
        "staff_graded_weight_share": shares[STAFF],
        "peer_graded_weight_share": shares[PEER],
        "quiz_weight_share": shares[QUIZ],
        "ungraded_practice_share": weeks_of["practice"].sum(axis=1) / lessons,
        "ungraded_video_share": weeks_of["video"].sum(axis=1) / lessons,
        "ungraded_reading_share": weeks_of["reading"].sum(axis=1) / lessons,
        "graded_weight_centroid": centroid(weeks_of["graded_weight"]),
        "max_item_weight": np.array(
            [weight[a:b].max() for a, b in zip(courses.item_start, courses.item_start[1:], strict=False)]
        ),
        "video_minutes_centroid": centroid(weeks_of["video_minutes"]),
        "late_penalty_share": count(graded & ~np.isnan(courses.item_late_penalty)) / assignments,
        "assignment_group_share": count(graded & (courses.item_group > 0)) / assignments,
        "item_count": assignments + lessons,
        "assignment_count": assignments,
        "week_count": courses.weeks,
        "video_minutes": weeks_of["video_minutes"].sum(axis=1),
        "small_weight_share": count(graded & (weight < 0.05)) / assignments,
        "medium_weight_share": count(graded & (weight >= 0.05) & (weight < 0.15)) / assignments,
        "large_weight_share": count(graded & (weight >= 0.15)) / assignments,
        "practice_centroid": centroid(weeks_of["practice"]),
        "graded_centroid": centroid(weeks_of["graded"]),
        "first_week_video_minutes": weeks_of["video_minutes"][:, 0],
    }
    for name in ("video", "reading", "practice", "graded", "video_minutes"):
        columns[f"{name}_per_week"] = weeks_of[name].sum(axis=1) / courses.weeks
    for name, x in weeks_of.items():
        columns[f"{name}_weekly_variation"] = variation(x)
    return {name: np.asarray(value, float) for name, value in columns.items()}
