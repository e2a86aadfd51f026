"""Courses share a scale only through enough learners with enough answers in both."""

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.skills.course_links import course_links, course_patterns


def answers(plan):
    """``plan``: (learners, {course: answers}) …"""
    rows, first = [], 0
    for learners, courses in plan:
        for course, n in courses.items():
            rows.append(pd.DataFrame({"person": np.repeat(np.arange(first, first + learners), n), "course": course}))
        first += learners
    return pd.concat(rows, ignore_index=True)


def test_a_link_needs_enough_learners_with_enough_answers_on_both_sides():
    data = answers(
        [
            (100, {"A": 5, "B": 7}),
            (150, {"B": 9, "C": 4}),  # too few answers in C
            (99, {"B": 5, "D": 5}),  # too few learners
            (100, {"D": 5, "C": 6}),
            (300, {"A": 10}),
        ]
    )
    result = course_links(data["person"], data["course"])
    links = result.links.set_index(["course", "other_course"])
    assert links.loc[("A", "B"), ["learners", "is_link"]].tolist() == [100, True]
    assert links.loc[("B", "D"), ["learners", "is_link"]].tolist() == [99, False]
    assert ("B", "C") not in links.index
    scales = result.scales.set_index("course")
    assert scales["scale"].to_dict() == {"A": 0, "B": 0, "C": 1, "D": 1}
    assert scales["is_separate"].to_dict() == {"A": False, "B": False, "C": True, "D": True}


def test_links_carry_over_other_courses():
    data = answers([(120, {"A": 5, "B": 5}), (120, {"B": 5, "C": 5})])
    assert (course_links(data["person"], data["course"]).scales["scale"] == 0).all()


def test_small_patterns_merge_by_highest_level():
    level = {"A": 1, "B": 2, "C": 3}
    data = answers([(300, {"A": 2}), (250, {"A": 1, "B": 3}), (150, {"C": 1}), (120, {"A": 1, "C": 1}), (30, {"B": 1})])
    pattern = course_patterns(data["person"], data["course"], level).set_index("person")["pattern"]
    assert pattern.value_counts().to_dict() == {"A": 300, "highest level 3": 270, "A + B": 250, "other": 30}
    with pytest.raises(ValueError, match="course C has no level"):
        course_patterns(data["person"], data["course"], {"A": 1, "B": 2})
