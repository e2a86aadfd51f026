"""Long item responses → rows sorted by person, as the kernels read them, with what had to be left out and why.

Input is one element per answered question, in any order and with labels of any kind. Nothing here is ever persons ×
items large: integer labels go through a look-up table, everything else through a hash, and the rows are placed with one
counting sort. Per response the result keeps four bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CATEGORIES = 127  # a response is a small whole number: 0, 1, … below this


@dataclass(frozen=True)
class Labels:
    """Distinct labels in ascending order and the position of each element's label."""

    values: np.ndarray
    codes: np.ndarray  # int32, -1: not among the values


@dataclass(frozen=True)
class Layout:
    """Which table row stands for an item in a category.

    ``observed[i]`` are the categories of item ``i`` that have a row, ascending; ``step_start`` (items + 1,) counts
    their steps (categories - 1) up to item ``i``, so that rows start at ``step_start[i] + i``.
    """

    items: np.ndarray
    observed: list[np.ndarray]
    step_start: np.ndarray

    @property
    def rows(self) -> int:
        """Rows of a table: one for each item and category."""
        return int(self.step_start[-1]) + len(self.items)

    @property
    def item_of_row(self) -> np.ndarray:
        """Item of each row."""
        return np.repeat(np.arange(len(self.items)), np.diff(self.step_start) + 1)

    def by_item(self, values: np.ndarray) -> np.ndarray:
        """Sums over the rows of each item, (items, k), of values (rows, k)."""
        return np.add.reduceat(values, self.step_start[:-1] + np.arange(len(self.items)), axis=0)

    def followed_by(self, other: Layout) -> Layout:
        """The items of both layouts, one behind the other."""
        return Layout(
            np.concatenate([self.items, other.items]),
            self.observed + other.observed,
            np.concatenate([self.step_start, self.step_start[-1] + other.step_start[1:]]),
        )

    def row_of(self, item_position: np.ndarray, categories: int) -> np.ndarray:
        """Table (labels, categories) → row. A category without a row takes the next lower one; -1: no such item."""
        table = np.full((len(item_position), categories), -1, np.int32)
        for position, i in enumerate(item_position):
            if i >= 0:
                below = np.searchsorted(self.observed[i], np.arange(categories), side="right") - 1
                table[position] = self.step_start[i] + i + np.maximum(below, 0)
        return table


@dataclass(frozen=True)
class Responses:
    """Rows sorted by person. ``start`` (persons + 1,) int64, ``row`` (responses,) int32, ``group`` (persons,) int32."""

    persons: np.ndarray
    start: np.ndarray
    row: np.ndarray
    group: np.ndarray

    def select(self, persons: np.ndarray) -> Responses:
        """The persons at these positions."""
        from dagster_project.stats.item_response import response_kernels as kernels

        start = np.concatenate([[0], np.cumsum(np.diff(self.start)[persons])])
        row = np.empty(start[-1], np.int32)
        kernels.copy_persons(self.start, self.row, persons, start, row)
        return Responses(self.persons[persons], start, row, np.ascontiguousarray(self.group[persons]))

    def every(self, stride: int) -> Responses:
        """Every ``stride``-th person of each group."""
        return self.select(np.sort(np.argsort(self.group, kind="stable")[::stride]))


def label(values, name: str, *, length: int | None = None) -> Labels:
    """Number labels of any kind (numbers, text, pandas, Arrow-backed) in ascending order.

    A pandas categorical keeps its own order. Raises ValueError for missing labels or a wrong length.
    """
    import pandas as pd

    if isinstance(values, pd.Series | pd.Index | pd.Categorical) and isinstance(values.dtype, pd.CategoricalDtype):
        categorical = pd.Categorical(values)
        codes = np.asarray(categorical.codes)
        if codes.size and codes.min() < 0:
            raise ValueError(_missing(name, int(np.flatnonzero(codes < 0)[0])))
        used = _label_integers(codes, name)
        result = Labels(np.asarray(categorical.categories)[used.values], used.codes)
    else:
        array = np.asarray(values)
        if array.ndim != 1:
            raise ValueError(f"{name} has {array.ndim} dimensions; expected one element per response")
        small = array.dtype.kind == "i" or (array.dtype.kind == "u" and array.dtype.itemsize < 8)
        result = _label_integers(array, name) if small else _label_any(values, name)
    if length is not None and result.codes.size != length:
        raise ValueError(f"{name} has {result.codes.size} elements, person has {length}; expected one per response")
    return result


def _label_integers(array: np.ndarray, name: str) -> Labels:
    from dagster_project.stats.item_response import response_kernels as kernels

    if not array.size:
        return Labels(array, np.empty(0, np.int32))
    low, high = int(array.min()), int(array.max())
    if high - low > max(4 * array.size, 1 << 20):
        return _label_any(array, name)
    present = np.zeros(high - low + 1, np.bool_)
    kernels.mark(array, low, present)
    position = np.cumsum(present, dtype=np.int32) - np.int32(1)
    codes = np.empty(array.size, np.int32)
    kernels.look_up(array, low, position, codes)
    return Labels((np.flatnonzero(present) + low).astype(array.dtype), codes)


def _label_any(values, name: str) -> Labels:
    import pandas as pd

    codes, distinct = pd.factorize(values, sort=True)
    if codes.size and codes.min() < 0:
        raise ValueError(_missing(name, int(np.flatnonzero(codes < 0)[0])))
    return Labels(np.asarray(distinct), codes.astype(np.int32))


def _missing(name: str, position: int) -> str:
    return f"{name} is missing at position {position}; drop responses without a {name} before"


def whole_numbers(response, length: int) -> np.ndarray:
    """Responses as int8. Raises ValueError with the first value that is not a whole number from 0 up."""
    import pandas as pd

    from dagster_project.stats.item_response import response_kernels as kernels

    array = np.asarray(response)
    if array.shape != (length,):
        raise ValueError(f"response has shape {array.shape}, person has {length} elements; expected one per response")
    if array.dtype.kind not in "biuf":
        array = pd.to_numeric(pd.Series(response)).to_numpy(dtype=np.float64, na_value=np.nan)
    bad = kernels.first_bad(array.view(np.int8) if array.dtype == np.bool_ else array, CATEGORIES)
    if bad >= 0:
        raise ValueError(
            f"response {array[bad]} at position {bad}: expected whole numbers 0, 1, … "
            "(a question that was not answered has no row)"
        )
    return array.astype(np.int8, copy=False)


def read_answers(person, item, response, group, model) -> tuple[Labels, Labels, np.ndarray, Labels]:
    """Persons, items, answers and groups of long responses. Raises ValueError with the first that is unusable."""
    persons = label(person, "person")
    n = persons.codes.size
    if not n:
        raise ValueError("there are no responses")
    items = label(item, "item", length=n)
    answers = whole_numbers(response, n)
    highest = int(answers.max())
    if model != "graded" and highest > 1:
        raise ValueError(
            f"response {highest} at position {int(answers.argmax())}: model {model!r} takes 0 (wrong) and 1 (right); "
            'for partial credit use model="graded"'
        )
    everybody = Labels(np.array(["all"], object), np.broadcast_to(np.int32(0), n))
    return persons, items, answers, everybody if group is None else label(group, "group", length=n)


def count_categories(item: Labels, response: np.ndarray) -> np.ndarray:
    """Responses by item and category, shape (items, highest category + 1)."""
    from dagster_project.stats.item_response import response_kernels as kernels

    counts = np.zeros((len(item.values), int(response.max(initial=0)) + 1), np.int64)
    kernels.count(item.codes, response, counts)
    return counts


def lay_out(items: np.ndarray, category_counts: np.ndarray) -> Layout:
    """Rows for every item, one per category that occurs."""
    observed = [np.flatnonzero(counts) for counts in category_counts]
    steps = np.array([len(categories) - 1 for categories in observed], np.int64)
    return Layout(items, observed, np.concatenate([[0], np.cumsum(steps)]))


def sort_by_person(
    person: Labels, item: Labels, response: np.ndarray, row_of: np.ndarray, group: np.ndarray
) -> Responses:
    """Place the responses that have a row behind each other by person.

    Raises ValueError when a person has answered an item twice.
    """
    from dagster_project.stats.item_response import response_kernels as kernels

    start = np.zeros(len(person.values) + 1, np.int64)
    kernels.sizes(person.codes, item.codes, response, row_of, start)
    np.cumsum(start, out=start)
    row = np.empty(start[-1], np.int32)
    kernels.place(person.codes, item.codes, response, row_of, start[:-1].copy(), row)
    item_of_row = np.zeros(int(row_of.max(initial=-1)) + 1, np.int32)
    for position, rows in enumerate(row_of):
        item_of_row[rows[rows >= 0]] = position
    twice = kernels.first_duplicate(start, row, item_of_row, np.full(len(item.values), -1, np.int64))
    if twice[0] >= 0:
        raise ValueError(
            f"person {person.values[twice[0]]} has more than one response to item {item.values[twice[1]]}; "
            "keep one, usually the first attempt"
        )
    return Responses(person.values, start, row, group)


def group_of_persons(person: Labels, group: Labels) -> np.ndarray:
    """Group of each person (persons,) int32. Raises ValueError when a person's group changes."""
    from dagster_project.stats.item_response import response_kernels as kernels

    out = np.full(len(person.values), -1, np.int32)
    conflict = kernels.spread(person.codes, group.codes, out)
    if conflict >= 0:
        j = person.codes[conflict]
        raise ValueError(
            f"person {person.values[j]} is in group {group.values[out[j]]} and in group "
            f"{group.values[group.codes[conflict]]}; a group must be constant within a person"
        )
    return out
