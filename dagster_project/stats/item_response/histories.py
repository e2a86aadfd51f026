"""Answers and completed courses of each person, by day: what a scale of abilities that move is made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.item_response.responses import Layout, count_categories, label, lay_out, whole_numbers

ALL_EQUAL = "all answers are equal: they say nothing about difficulty"


@dataclass(frozen=True)
class Histories:
    """Answers and completed courses of each person, by day.

    Attributes:
        persons, items, courses, learned: labels, ascending; ``learned``: courses that can have a gain.
        layout: table rows of the items.
        start (persons + 1,), row (answers,): rows of each person's answers.
        before (answers,): how many of the person's completions lie on an earlier day than the answer.
        day (answers,): days.
        done_start (persons + 1,), done (completions,): completed courses of each person by day, as places in
            ``learned``.
        last (persons,): completions that lie before the person's last answer.
        course_of_item (items,): places in ``courses``: where most answers to the item were given.
        notes: lines of a report: what was left out.
    """

    persons: np.ndarray
    items: np.ndarray
    courses: np.ndarray
    learned: np.ndarray
    layout: Layout
    start: np.ndarray
    row: np.ndarray
    before: np.ndarray
    day: np.ndarray
    done_start: np.ndarray
    done: np.ndarray
    last: np.ndarray
    course_of_item: np.ndarray
    counts: np.ndarray
    notes: tuple = ()

    @property
    def item_of_row(self) -> np.ndarray:
        """Item of each table row."""
        return self.layout.item_of_row

    @property
    def answers(self) -> np.ndarray:
        """Answers of each person."""
        return np.diff(self.start)

    def select(self, persons: np.ndarray) -> Histories:
        """Only the persons at these places, ascending."""
        chosen = np.zeros(len(self.persons), bool)
        chosen[persons] = True
        n, d = np.repeat(chosen, self.answers), np.repeat(chosen, np.diff(self.done_start))
        return replace(
            self,
            persons=self.persons[chosen],
            start=np.r_[0, np.cumsum(self.answers[chosen])],
            row=self.row[n],
            before=self.before[n],
            day=self.day[n],
            done_start=np.r_[0, np.cumsum(np.diff(self.done_start)[chosen])],
            done=self.done[d],
            last=self.last[chosen],
        )


def histories(
    person, item, response, course, day, done_person, done_course, done_day, *, items: ItemBank | None = None,
    learned=None, with_new: bool = False,
) -> Histories:  # fmt: skip
    """Arrange answers and completions.

    Args:
        person, item, response, course, day (arrays of shape (answers,)): as for `calibration.calibrate`; the course
            that asked, and whole days.
        done_person, done_course, done_day (arrays of shape (completions,)): who completed which course when. It counts
            for answers of later days: the quiz that completes a course is still part of it. Of several completions of
            a course the first one counts; persons without answers do not.
        items: the bank whose items are known, to score; others are left out, or follow behind them (``with_new``).
            Without it, the items of the answers.
        learned: courses that can have a gain; those of the completions if not given.

    Raises:
        ValueError: unusable input; a person who answered an item twice.
    """
    import pandas as pd

    from dagster_project.stats.item_response import longitudinal_kernels as kernels
    from dagster_project.stats.item_response import response_kernels

    people, asked, where = label(person, "person"), label(item, "item"), label(course, "course")
    n = len(people.codes)
    answer = whole_numbers(response, n)
    if not len(asked.codes) == len(where.codes) == n:
        raise ValueError(f"person has {n} elements, item {len(asked.codes)}, course {len(where.codes)}")
    counts = count_categories(asked, answer)
    notes = []
    layout, position = lay_out(asked.values[:0], counts[:0]), np.full(len(asked.values), -1)
    if items is not None:
        layout, _ = items.parameters()
        position = pd.Index(layout.items).get_indexer(asked.values)
    if items is None or with_new:
        fresh = np.flatnonzero(position < 0)
        single = (counts[fresh] > 0).sum(axis=1) < 2
        notes = [("item", asked.values[i], int(counts[i].sum()), ALL_EQUAL) for i in fresh[single]]
        usable = fresh[~single]
        added = lay_out(asked.values[usable], counts[usable])
        position[usable] = len(layout.items) + np.arange(len(usable))
        layout = added if items is None else layout.followed_by(added)
    kept_counts = np.zeros((len(layout.items), counts.shape[1]), np.int64)
    kept_counts[position[position >= 0]] = counts[position >= 0]
    row_of = layout.row_of(position, counts.shape[1])
    when = np.asarray(day)
    size = np.zeros(len(people.values) + 1, np.int64)
    response_kernels.sizes(people.codes, asked.codes, answer, row_of, size)
    start = np.cumsum(size)
    row, day = np.empty(start[-1], np.int32), np.empty(start[-1], np.int32)
    kernels.place_by_day(people.codes, asked.codes, answer, when, row_of, start[:-1].copy(), row, day)
    present = size[1:] > 0
    persons, start = people.values[present], np.r_[0, start[1:][present]]
    twice = response_kernels.first_duplicate(start, row, layout.item_of_row, np.full(len(layout.items), -1, np.int64))
    if twice[0] >= 0:
        raise ValueError(
            f"person {persons[twice[0]]} has more than one response to item {layout.items[twice[1]]}; "
            "keep one, usually the first attempt"
        )
    asked_by = np.zeros((len(layout.items), len(where.values)), np.int32)
    kernels.count_courses(asked.codes, where.codes, position, asked_by)
    home = asked_by.argmax(axis=1) if n else np.empty(0, int)  # the first of those with most answers
    homes, of_item = np.unique(home, return_inverse=True)
    course_of_item = of_item if n else np.zeros(len(layout.items), int)

    done = pd.DataFrame({"course": np.asarray(done_course, object), "day": np.asarray(done_day, np.int64)})
    done["person"] = pd.Index(persons).get_indexer(pd.Index(np.asarray(done_person)))
    done = done[done["person"] >= 0].sort_values(["person", "day", "course"], kind="stable")
    done = done.drop_duplicates(["person", "course"])
    learned = np.unique(done["course"].to_numpy(object)) if learned is None else np.asarray(learned, object)
    done["gain"] = pd.Index(learned).get_indexer(done["course"])
    done = done[done["gain"] >= 0]
    done_start = np.searchsorted(done["person"].to_numpy(), np.arange(len(persons) + 1))
    before, last = np.empty(len(row), np.int16), np.empty(len(persons), np.int64)
    kernels.count_completed(start, day, done_start, done["day"].to_numpy(), before, last)
    return Histories(
        persons, layout.items, where.values[homes], learned, layout, start, row, before, day, done_start,
        done["gain"].to_numpy(np.int32), last, course_of_item, kept_counts, tuple(notes),
    )  # fmt: skip


def pieces(data: Histories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connected piece of each person and of each course, 0 the one with most answers; and persons of each course."""
    from dagster_project.stats.item_response.longitudinal_kernels import join_courses

    course_of_row = data.course_of_item[data.item_of_row].astype(np.int64)
    part = np.arange(len(data.courses))
    persons = np.zeros(len(data.courses), np.int64)
    join_courses(data.start, data.row, course_of_row, part, persons)
    of_person = part[course_of_row[data.row[data.start[:-1]]]]
    weight = np.bincount(of_person, data.answers, minlength=len(part))
    rank = np.empty(len(part), int)
    rank[np.argsort(-weight, kind="stable")] = np.arange(len(part))
    return rank[of_person], rank[part], persons
