"""Which courses can share an ability scale, and which learners form a group for calibration.

Courses are comparable only through learners who answered questions of both. Advanced learners take harder courses, so
that groups by course pattern need their own ability distribution; too small a pattern cannot have one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dagster_project.stats.item_response.responses import label

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ITEMS = 5
FEWEST_LEARNERS = 100
SMALLEST_PATTERN = 200


class CourseLinks(NamedTuple):
    """``links``: course, other_course, learners, is_link. ``scales``: course, learners, scale, is_separate."""

    links: pd.DataFrame
    scales: pd.DataFrame


def course_links(
    person, course, *, fewest_items: int = FEWEST_ITEMS, fewest_learners: int = FEWEST_LEARNERS
) -> CourseLinks:
    """Graph of courses bridged by learners, and its connected parts.

    Args:
        person, course (arrays of shape (responses,)): one element per answered question: who, and in which course.
        fewest_items: answers a learner needs in each of two courses to bridge them.
        fewest_learners: bridging learners that make a link.

    Returns:
        CourseLinks: ``links``: every pair of courses with a bridging learner. ``scales``: scale 0 is the connected part
        with the most learners; courses on another scale (``is_separate``) must be calibrated and published apart.
    """
    import pandas as pd
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    people, courses = label(person, "person"), label(course, "course", length=len(person))
    answers = csr_array(
        (np.ones(len(people.codes), np.int32), (people.codes, courses.codes)),
        shape=(len(people.values), len(courses.values)),
    )
    answers.sum_duplicates()
    answers.data = (answers.data >= fewest_items).astype(np.int64)
    enough = answers
    shared = (enough.T @ enough).tocoo()
    upper = (shared.row < shared.col) & (shared.data > 0)
    i, j, bridging = shared.row[upper], shared.col[upper], shared.data[upper]
    is_link = bridging >= fewest_learners
    graph = csr_array((np.ones(is_link.sum()), (i[is_link], j[is_link])), shape=(len(courses.values),) * 2)
    _, part = connected_components(graph, directed=False)
    learners = enough.sum(axis=0)
    weight = np.bincount(part, learners)
    rank = np.empty(len(weight), int)
    rank[np.argsort(-weight, kind="stable")] = np.arange(len(weight))
    links = pd.DataFrame(
        {"course": courses.values[i], "other_course": courses.values[j], "learners": bridging, "is_link": is_link}
    )
    scales = pd.DataFrame(
        {"course": courses.values, "learners": learners, "scale": rank[part], "is_separate": rank[part] > 0}
    )
    return CourseLinks(links.sort_values(["course", "other_course"], ignore_index=True), scales)


def course_patterns(person, course, level, *, smallest: int = SMALLEST_PATTERN) -> pd.DataFrame:
    """Group learners by the set of courses they answered; small patterns merge by their highest course level.

    Args:
        person, course: arrays of shape (responses,)
        level (mapping or series, course → level): levels sort from basic to advanced (numbers).
        smallest: patterns of fewer learners become "highest level <level>"; if such a group is still smaller, "other".

    Returns:
        frame: person, pattern. Ascending by person; patterns of courses read "course + course".

    Raises:
        ValueError: a course without a level.
    """
    import pandas as pd

    pairs = pd.DataFrame({"person": person, "course": course}).drop_duplicates().sort_values(["person", "course"])
    level_of = pairs["course"].map(pd.Series(level))
    if level_of.isna().any():
        raise ValueError(f"course {pairs['course'][level_of.isna()].iloc[0]} has no level")
    name = pairs["course"].astype(str)
    by_person = pairs.assign(course=name, level=level_of).groupby("person", sort=True)
    frame = pd.DataFrame({"pattern": by_person["course"].agg(" + ".join), "level": by_person["level"].max()})
    size = frame.groupby("pattern")["level"].transform("size")
    merged = "highest level " + frame["level"].astype(str)
    frame["pattern"] = frame["pattern"].where(size >= smallest, merged)
    size = frame.groupby("pattern")["level"].transform("size")
    frame["pattern"] = frame["pattern"].where(size >= smallest, "other")
    return frame.drop(columns="level").reset_index()


def bridged_courses(
    person, course, item, *, fewest_items: int = FEWEST_ITEMS, fewest_learners: int = FEWEST_LEARNERS
) -> pd.DataFrame:
    """Courses that enough learners tie to the rest of a scale, where single pairs of courses share too few.

    A learner ties a course to the scale with answers to at least ``fewest_items`` of its questions, or to half of them
    where a course asks fewer than twice as many, and as many answers in the scale's other courses together. Courses
    with fewer than ``fewest_learners`` such learners are taken off, until all that are left have them; of the parts
    that share no such learner, the one with the most answers is the scale.

    Args:
        person, course, item: arrays of shape (responses,)

    Returns:
        frame: course, learners, linking_learners, is_on_scale. Ascending by course. ``linking_learners``: to the final
        scale, for courses off it too.
    """
    import pandas as pd
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    people, courses = label(person, "person"), label(course, "course", length=len(person))
    items = label(item, "item", length=len(person))
    pairs = np.unique(courses.codes.astype(np.int64) * len(items.values) + items.codes)
    asked = np.bincount(pairs // len(items.values), minlength=len(courses.values))
    answers = csr_array(
        (np.ones(len(people.codes), np.int32), (people.codes, courses.codes)),
        shape=(len(people.values), len(courses.values)),
    )
    answers.sum_duplicates()
    answers = answers.tocoo()
    who, where, n = answers.row, answers.col, answers.data
    enough = n >= np.minimum(fewest_items, np.ceil(asked / 2))[where]
    on = np.ones(len(courses.values), bool)
    while True:
        total = np.bincount(who, n * on[where], len(people.values))
        links = enough & (total[who] - n * on[where] >= fewest_items)
        linking = np.bincount(where[links], minlength=len(on))
        kept = on & (linking >= fewest_learners)
        if (kept == on).all() and on.any():
            tie = links & on[where]
            shared = csr_array((np.ones(tie.sum()), (who[tie], where[tie])), shape=(len(people.values), len(on)))
            _, part = connected_components(shared.T @ shared, directed=False)
            weight = np.bincount(part, np.bincount(where, n, len(on)) * on)
            kept = on & (part == weight.argmax())
        if (kept == on).all():
            break
        on = kept
    return pd.DataFrame(
        {
            "course": courses.values,
            "learners": np.bincount(where, minlength=len(on)),
            "linking_learners": linking,
            "is_on_scale": on,
        }
    )
