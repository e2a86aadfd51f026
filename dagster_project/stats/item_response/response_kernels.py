"""Compiled loops that number labels and place responses behind each other by person."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def mark(values, low, present):
    """Set ``present[value - low]`` of every value."""
    for t in range(values.size):
        present[values[t] - low] = True


@njit(cache=True, nogil=True)
def look_up(values, low, position, codes):
    """Fill ``codes`` with ``position[value - low]``."""
    for t in range(values.size):
        codes[t] = position[values[t] - low]


@njit(cache=True, nogil=True)
def first_bad(values, categories):
    """Position of the first value that is no whole number from 0 to ``categories`` - 1; -1: none."""
    for t in range(values.size):
        if not (values[t] >= 0 and values[t] < categories and values[t] == np.floor(values[t])):
            return t
    return -1


@njit(cache=True, nogil=True)
def count(item, response, counts):
    """Add the responses up by item and category in ``counts`` (items, categories)."""
    for t in range(item.size):
        counts[item[t], response[t]] += 1


@njit(cache=True, nogil=True)
def sizes(person, item, response, row_of, size_before):
    """Add up the responses with a row by person, one place behind: ``size_before`` (persons + 1,)."""
    for t in range(person.size):
        if row_of[item[t], response[t]] >= 0:
            size_before[person[t] + 1] += 1


@njit(cache=True, nogil=True)
def place(person, item, response, row_of, position, row):
    """Put each response's row at its person's next ``position``."""
    for t in range(person.size):
        r = row_of[item[t], response[t]]
        if r >= 0:
            row[position[person[t]]] = r
            position[person[t]] += 1


@njit(cache=True, nogil=True)
def copy_persons(start, row, order, new_start, new_row):
    """Copy the rows of the persons ``order`` behind each other."""
    for k in range(order.size):
        j = order[k]
        for t in range(start[j + 1] - start[j]):
            new_row[new_start[k] + t] = row[start[j] + t]


@njit(cache=True, nogil=True)
def first_duplicate(start, row, item_of_row, last_person):
    """First person with two rows of one item, and the item; -1, -1: none."""
    for j in range(start.size - 1):
        for t in range(start[j], start[j + 1]):
            i = item_of_row[row[t]]
            if last_person[i] == j:
                return j, np.int64(i)
            last_person[i] = j
    return -1, -1


@njit(cache=True, nogil=True)
def spread(person, group, out):
    """Fill ``out`` with the group of each person; returns the first response with another one, or -1."""
    for t in range(person.size):
        j = person[t]
        if out[j] < 0:
            out[j] = group[t]
        elif out[j] != group[t]:
            return t
    return -1
