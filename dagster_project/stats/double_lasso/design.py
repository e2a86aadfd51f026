"""Rows of a regression design, as blocks of numbers: from arrays, tables or streams of record batches.

Categorical controls become 0/1 columns inside each batch, so a table is never expanded whole. What the expansion needs
(levels, means, keys) is found in a pass of its own. Blocks are cut by row number, not by batch: the same rows in the
same order give the same blocks, and so the same digits, whether they come streamed or from memory.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

BLOCK_ROWS = 8192
FEW_CLUSTERS = 1000  # with more, rows that come cluster by cluster need no array over all clusters
JACKKNIFE_CLUSTERS = 10_000  # up to here each cluster is left out in turn; above, that changes nothing but the time
RARE_LEVEL = 30  # levels of a categorical control with fewer rows are pooled
MOST_LEVELS = 1000  # a categorical control with more is taken for an identifier

Batches = Callable[[], Iterable[pa.RecordBatch]]


class Block(NamedTuple):
    """Some rows of a design."""

    values: np.ndarray  # (columns, rows), shifted by a value near their mean
    groups: np.ndarray  # (rows,) number of the absorbed group, 0 without
    clusters: tuple[np.ndarray, ...]  # for each dimension (rows,) number of the cluster
    samples: np.ndarray  # (samples, rows) whether the row is in the sample


@dataclass
class Design:
    """Columns and rows that all regressions of one call share."""

    columns: list[str]
    n_controls: int  # the first columns; the others are never controls
    drivers: np.ndarray  # (drivers,) column numbers
    driver_range: np.ndarray  # (2, drivers) least and largest value, shifted
    shift: np.ndarray  # (columns,) what was subtracted
    n_groups: int
    n_samples: int
    n_clusters: list[int]
    contiguous: list[bool]  # the blocks hold whole clusters of this dimension, numbered within the block
    blocks: Callable[[], Iterator[Block]]


@dataclass
class TableDesign:
    """A design made from a table, with what names in the table became."""

    design: Design
    outcome: int
    driver_columns: dict[str, int]
    control_columns: dict[str, list[int]]
    unusable: dict[str, str]  # controls that no driver can use, and why
    not_finite: dict[str, np.ndarray]  # outcome and drivers: (samples,) missing or infinite values


def array_design(
    outcome: np.ndarray,
    driver: np.ndarray,
    controls: np.ndarray,
    groups: np.ndarray | None,
    clusters: Sequence[np.ndarray],
    *,
    jackknife: bool = False,
) -> Design:
    """Design of one driver from arrays: controls are columns 0 to p - 1, then the driver and the outcome.

    With ``jackknife`` the clusters are to be left out in turn.
    """
    n, p = controls.shape
    codes = [np.unique(keys, return_inverse=True)[1].reshape(-1) for keys in clusters]
    counts = [int(code.max()) + 1 for code in codes]
    whole = _whole(counts, [_may_be_whole(count, jackknife) for count in counts])
    order = slice(None) if whole is None else np.argsort(codes[whole], kind="stable")
    group = np.zeros(n, dtype=np.int64) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    columns = np.column_stack([controls, driver, outcome])[order]
    shift = columns.mean(axis=0)
    group, codes = group[order], [code[order] for code in codes]

    def pieces() -> Iterator[Block]:
        for a in range(0, n, BLOCK_ROWS):
            part = slice(a, a + BLOCK_ROWS)
            values = np.ascontiguousarray((columns[part] - shift).T)
            yield Block(values, group[part], tuple(c[part] for c in codes), np.ones((1, values.shape[1]), dtype=bool))

    kept = list(_reblock(pieces(), whole))
    return Design(
        columns=[str(j) for j in range(p)] + ["driver", "outcome"],
        n_controls=p,
        drivers=np.array([p]),
        driver_range=np.array([[driver.min() - shift[p]], [driver.max() - shift[p]]]),
        shift=shift,
        n_groups=int(group.max()) + 1,
        n_samples=1,
        n_clusters=counts,
        contiguous=[d == whole for d in range(len(counts))],
        blocks=lambda: iter(kept),
    )


def table_design(
    data: pd.DataFrame | pa.Table | Batches,
    *,
    outcome: str,
    drivers: Sequence[str],
    controls: Sequence[str],
    absorb: str | None,
    clusters: Sequence[str],
    samples: Sequence[str | None],
    jackknife: Collection[str] = (),
    numbered: Collection[str] = (),
) -> TableDesign:
    """Design of many drivers from a table or a stream; ``samples`` are boolean columns, None for all rows.

    Of the cluster columns, ``jackknife`` are to be left out in turn, and ``numbered`` must have the same number in
    every block.

    Raises:
        ValueError: a column is missing or of a wrong type, or a key is null. The message says what to do.
    """
    wanted = [outcome, *drivers, *controls, absorb, *clusters, *samples]
    names = list(dict.fromkeys(name for name in wanted if name is not None))
    batches, table = _batches(data, names)
    description = _describe(batches, names, outcome, drivers, controls, absorb, clusters, samples)
    counts = [len(description.keys[name]) for name in clusters]
    fit = [
        name not in numbered and _may_be_whole(count, name in jackknife)
        for name, count in zip(clusters, counts, strict=True)
    ]
    if table is None:
        for d, name in enumerate(clusters):
            fit[d] = fit[d] and description.runs[name] == counts[d]
    whole = _whole(counts, fit)
    if table is not None and whole is not None and description.runs[clusters[whole]] != counts[whole]:
        name = clusters[whole]
        table = table.take(pa.array(np.argsort(_keys(table[name].combine_chunks(), name), kind="stable")))
        batches, _ = _batches(table, names)
    contiguous = [d == whole for d in range(len(clusters))]
    layout = _Layout(description, outcome, drivers, controls, absorb, clusters, contiguous, samples)

    passes = itertools.count(2)  # the description was the first

    def blocks() -> Iterator[Block]:
        logger.info("Pass %d over %s rows x %d columns", next(passes), f"{description.rows:,}", len(layout.columns))
        return _reblock(layout.pieces(batches), whole)

    shift = np.array(layout.shift)
    numbers = np.array([layout.column_of[driver] for driver in drivers], dtype=np.int64)
    ranges = np.array([[description.numbers[d].lowest, description.numbers[d].highest] for d in drivers]).T
    design = Design(
        columns=layout.columns,
        n_controls=layout.n_controls,
        drivers=numbers,
        driver_range=ranges - shift[numbers],
        shift=shift,
        n_groups=1 if absorb is None else len(description.keys[absorb]),
        n_samples=len(samples),
        n_clusters=counts,
        contiguous=contiguous,
        blocks=blocks,
    )
    return TableDesign(
        design=design,
        outcome=layout.column_of[outcome],
        driver_columns={driver: layout.column_of[driver] for driver in drivers},
        control_columns=layout.control_columns,
        unusable={
            name: f"control '{name}' has {found.infinite:,} infinite values"
            for name, found in description.numbers.items()
            if name in controls and found.infinite
        }
        | {
            name: f"control '{name}' has more than {MOST_LEVELS:,} levels like an identifier: leave it out, absorb it"
            for name in controls
            if name in description.levels and len(description.levels[name]) > MOST_LEVELS
        },
        not_finite={name: description.not_finite[name] for name in [outcome, *drivers]},
    )


def _may_be_whole(count: int, jackknife: bool) -> bool:
    """Whether so many clusters may go without an array over all of them."""
    return count > (JACKKNIFE_CLUSTERS if jackknife else FEW_CLUSTERS)


def _whole(counts: Sequence[int], fit: Sequence[bool]) -> int | None:
    """The dimension whose clusters blocks hold whole: the one with most clusters of those that are fit for it."""
    found = [d for d, is_fit in enumerate(fit) if is_fit]
    return max(found, key=lambda d: counts[d]) if found else None


def _batches(data: Any, names: list[str]) -> tuple[Batches, pa.Table | None]:
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        _require(names, data.columns)
        data = pa.Table.from_pandas(data, columns=names, preserve_index=False)
    if isinstance(data, pa.Table):
        _require(names, data.column_names)
        table = data.select(names)
        for position, field_ in enumerate(table.schema):
            if _is_text(field_.type) and not pa.types.is_dictionary(field_.type):
                # every pass expands the text again: look it up once
                table = table.set_column(position, field_.name, table.column(position).dictionary_encode())
        return table.to_batches, table
    if callable(data):
        return data, None
    raise TypeError(f"data: a pandas frame, a pyarrow table or a callable was expected, found {type(data).__name__}.")


def _require(names: Sequence[str], found: Iterable[str]) -> None:
    found = list(found)
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"The data have no column {missing}; they have {found}.")


@dataclass
class _Number:
    total: float = 0.0
    finite: int = 0
    missing: int = 0
    infinite: int = 0
    lowest: float = np.inf
    highest: float = -np.inf

    def add(self, values: np.ndarray) -> np.ndarray | None:
        """Take in values; returns which are finite, None if all are."""
        usable = None
        total = values.sum()
        if not np.isfinite(total):
            usable = np.isfinite(values)
            missing = int(np.isnan(values).sum())
            self.missing += missing
            self.infinite += int((~usable).sum()) - missing
            values = values[usable]
            total = values.sum()
        if len(values):
            self.total += total
            self.finite += len(values)
            self.lowest = min(self.lowest, float(values.min()))
            self.highest = max(self.highest, float(values.max()))
        return usable

    @property
    def shift(self) -> float:
        # single precision: near enough to the mean, and the same whatever the order of the batches
        return float(np.float32(self.total / max(self.finite, 1)))


@dataclass
class _Description:
    """What the first pass finds: levels, sums and keys."""

    rows: int = 0
    numbers: dict[str, _Number] = field(default_factory=dict)
    levels: dict[str, Counter] = field(default_factory=dict)
    keys: dict[str, np.ndarray] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    not_finite: dict[str, np.ndarray] = field(default_factory=dict)


def _describe(
    batches: Batches,
    names: list[str],
    outcome: str,
    drivers: Sequence[str],
    controls: Sequence[str],
    absorb: str | None,
    clusters: Sequence[str],
    samples: Sequence[str | None],
) -> _Description:
    found = _Description(not_finite={name: np.zeros(len(samples), dtype=np.int64) for name in [outcome, *drivers]})
    key_names = list(dict.fromkeys([name for name in [absorb, *clusters] if name is not None]))
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in key_names}
    last: dict[str, Any] = dict.fromkeys(key_names)
    for batch in batches():
        if not found.rows:
            _require(names, batch.schema.names)
        if not batch.num_rows:
            continue
        found.rows += batch.num_rows
        member = _samples(batch, samples)
        for name in dict.fromkeys([outcome, *drivers, *controls]):
            column = batch.column(name)
            if _is_text(column.type):
                if name == outcome or name in drivers:
                    raise ValueError(f"Column '{name}' holds {column.type}; an outcome or driver must be a number.")
                levels = found.levels.setdefault(name, Counter())
                if len(levels) > MOST_LEVELS:
                    continue
                values, codes = _encoded(column)
                for value, count in zip(values, np.bincount(codes, minlength=len(values)), strict=True):
                    if count:
                        levels[value] += int(count)
                continue
            usable = found.numbers.setdefault(name, _Number()).add(_floats(column, name))
            if usable is not None and name in found.not_finite:
                found.not_finite[name] += (member & ~usable).sum(axis=1)
        for name in key_names:
            keys = _keys(batch.column(name), name)
            runs = int(np.count_nonzero(keys[1:] != keys[:-1])) + (last[name] is None or last[name] != keys[0])
            found.runs[name] = found.runs.get(name, 0) + int(runs)
            last[name] = keys[-1]
            pieces[name].append(np.unique(keys))
            if len(pieces[name]) > 50:
                pieces[name] = [np.unique(np.concatenate(pieces[name]))]
    if not found.rows:
        raise ValueError("The data have no rows.")
    found.keys = {name: np.unique(np.concatenate(parts)) for name, parts in pieces.items()}
    return found


class _Layout:
    """Which column of the table fills which columns of the design; controls first, then what is no control."""

    def __init__(
        self,
        description: _Description,
        outcome: str,
        drivers: Sequence[str],
        controls: Sequence[str],
        absorb: str | None,
        clusters: Sequence[str],
        contiguous: Sequence[bool],
        samples: Sequence[str | None],
    ) -> None:
        self.description = description
        self.absorb, self.clusters, self.contiguous, self.samples = absorb, clusters, contiguous, samples
        self.columns: list[str] = []
        self.shift: list[float] = []
        self.column_of: dict[str, int] = {}
        self.indicator_of: dict[str, int] = {}
        self.level_columns: dict[str, dict[Any, int]] = {}
        self.control_columns: dict[str, list[int]] = {}
        for name in controls:
            first = len(self.columns)
            if name in description.numbers:
                self._add_number(name)
                missing = description.numbers[name].missing
                if missing >= RARE_LEVEL:
                    self.indicator_of[name] = self._add(f"{name} is missing", missing / description.rows)
            elif len(description.levels[name]) <= MOST_LEVELS:
                self._add_levels(name, description.levels[name])
            self.control_columns[name] = list(range(first, len(self.columns)))
        self.n_controls = len(self.columns)
        for name in [*drivers, outcome]:
            if name not in self.column_of:
                self._add_number(name)

    def _add(self, name: str, mean: float) -> int:
        self.columns.append(name)
        self.shift.append(float(np.float32(mean)))
        return len(self.columns) - 1

    def _add_number(self, name: str) -> None:
        self.column_of[name] = self._add(name, self.description.numbers[name].shift)

    def _add_levels(self, name: str, counts: Counter) -> None:
        """One column a level but the most frequent; levels under `RARE_LEVEL` rows share one."""
        order = sorted(counts, key=lambda level: (-counts[level], level is None, str(level)))
        self.level_columns[name] = dict.fromkeys(order, -1)
        pooled = [level for level in order[1:] if counts[level] < RARE_LEVEL]
        for level in order[1:]:
            if level not in pooled:
                label = "(missing)" if level is None else level
                column = self._add(f"{name}={label}", counts[level] / self.description.rows)
                self.level_columns[name][level] = column
        together = sum(counts[level] for level in pooled)
        if together >= RARE_LEVEL:
            column = self._add(f"{name}=(other)", together / self.description.rows)
            self.level_columns[name].update(dict.fromkeys(pooled, column))

    def pieces(self, batches: Batches) -> Iterator[Block]:
        rows = 0
        for batch in batches():
            rows += batch.num_rows
            for a in range(0, batch.num_rows, BLOCK_ROWS):
                yield self._expand(batch.slice(a, BLOCK_ROWS))
        if rows != self.description.rows:
            raise ValueError(
                f"The stream gave {self.description.rows:,} rows in its first pass and {rows:,} in a later one: "
                "every call must return the same rows in the same order."
            )

    def _expand(self, batch: pa.RecordBatch) -> Block:
        rows = batch.num_rows
        values = np.empty((len(self.columns), rows))
        for name, j in self.column_of.items():
            numbers = _floats(batch.column(name), name)
            found = self.description.numbers[name]
            np.subtract(numbers, self.shift[j], out=values[j])
            if found.missing or found.infinite:
                # an absent value counts as the mean; whether it was absent is a column of its own
                values[j, ~np.isfinite(numbers)] = 0.0
            if name in self.indicator_of:
                values[self.indicator_of[name]] = np.isnan(numbers) - self.shift[self.indicator_of[name]]
        for name, columns in self.level_columns.items():
            levels, codes = _encoded(batch.column(name))
            target = np.array([columns.get(level, -1) for level in levels], dtype=np.int64)[codes]
            for j in {column for column in columns.values() if column >= 0}:
                values[j] = -self.shift[j]
            there = np.flatnonzero(target >= 0)
            values[target[there], there] += 1.0
        groups = np.zeros(rows, dtype=np.int64)
        if self.absorb is not None:
            groups = np.searchsorted(self.description.keys[self.absorb], _keys(batch.column(self.absorb), self.absorb))
        codes = []
        for name, is_contiguous in zip(self.clusters, self.contiguous, strict=True):
            keys = _keys(batch.column(name), name)
            codes.append(keys if is_contiguous else np.searchsorted(self.description.keys[name], keys))
        return Block(values, groups, tuple(codes), _samples(batch, self.samples))


def _reblock(pieces: Iterable[Block], whole: int | None) -> Iterator[Block]:
    """Blocks of `BLOCK_ROWS` rows, or as near as whole clusters of dimension ``whole`` allow."""
    held: list[Block] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += piece.values.shape[1]
        while count >= BLOCK_ROWS + (whole is not None):
            joined = _join(held)
            cut = BLOCK_ROWS if whole is None else _last_boundary(joined.clusters[whole])
            held = [joined]
            if not cut:
                break
            yield _numbered(_part(joined, slice(None, cut)), whole)
            held = [_part(joined, slice(cut, None))]
            count -= cut
    if count:
        yield _numbered(_join(held), whole)


def _last_boundary(keys: np.ndarray) -> int:
    """Rows up to the last change of cluster within `BLOCK_ROWS`, else up to the first one after; 0: none seen."""
    changes = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    if not len(changes):
        return 0
    within = changes[changes <= BLOCK_ROWS]
    return int(within[-1] if len(within) else changes[0])


def _join(blocks: list[Block]) -> Block:
    blocks = [block for block in blocks if block.values.shape[1]] or blocks[:1]
    if len(blocks) == 1:
        return blocks[0]
    return Block(
        np.concatenate([b.values for b in blocks], axis=1),
        np.concatenate([b.groups for b in blocks]),
        tuple(np.concatenate(parts) for parts in zip(*(b.clusters for b in blocks), strict=True)),
        np.concatenate([b.samples for b in blocks], axis=1),
    )


def _part(block: Block, rows: slice) -> Block:
    return Block(
        block.values[:, rows], block.groups[rows], tuple(c[rows] for c in block.clusters), block.samples[:, rows]
    )


def _numbered(block: Block, whole: int | None) -> Block:
    clusters = list(block.clusters)
    if whole is not None:
        keys = clusters[whole]
        clusters[whole] = np.concatenate([[0], np.cumsum(keys[1:] != keys[:-1])])
    return block._replace(values=np.ascontiguousarray(block.values), clusters=tuple(clusters))


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary)
    )


def _encoded(column: pa.Array) -> tuple[list[str | None], np.ndarray]:
    """Distinct values as text, with None for null, and each row's position among them (rows,)."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.dictionary.cast(pa.string()).to_pylist()
    codes = column.indices.cast(pa.int64()).fill_null(len(values)).to_numpy(zero_copy_only=False)
    return [*values, None], codes


def _floats(column: pa.Array, name: str) -> np.ndarray:
    """Values as float64, nan where null."""
    if column.type != pa.float64():
        kind = column.type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if not (number or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
            raise ValueError(f"Column '{name}' holds {kind}; a number, a boolean or text was expected.")
        column = column.cast(pa.float64())
    return column.to_numpy(zero_copy_only=False)


def _keys(column: pa.Array, name: str) -> np.ndarray:
    """A 64-bit number (rows,) for each value: equal values give equal numbers in every batch."""
    import pandas as pd

    if column.null_count:
        raise ValueError(
            f"Column '{name}' is null in {column.null_count:,} rows, but it says to which group or cluster a row "
            "belongs: fill it, or leave the rows out."
        )
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return column.cast(pa.int64()).to_numpy(zero_copy_only=False).view(np.uint64)
    values, codes = _encoded(column)
    hash_array = cast("Callable[..., np.ndarray]", pd.util.hash_array)  # looked up by name, without a type
    return hash_array(np.array(values, dtype=object), categorize=False)[codes]


def _samples(batch: pa.RecordBatch, samples: Sequence[str | None]) -> np.ndarray:
    member = np.ones((len(samples), batch.num_rows), dtype=bool)
    for k, name in enumerate(samples):
        if name is not None:
            column = batch.column(name)
            if not pa.types.is_boolean(column.type):
                raise ValueError(f"Sample column '{name}' holds {column.type}; a boolean was expected.")
            member[k] = column.fill_null(False).to_numpy(zero_copy_only=False)
    return member
