"""The driver analysis of every source: marts in, the four tables of drivers out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dagster_project.base.sql import identifier, literal
from dagster_project.stats.double_lasso.design import Batches
from dagster_project.stats.driver_effects.analysis import driver_effects
from dagster_project.stats.driver_effects.level import Columns
from dagster_project.stats.suppression import MINIMUM
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


MARTS = {
    "learner_program": "marts.mart_learner_program",
    "learner_course": "marts.mart_retention_learner_course",
}
SEEDS = {
    "catalogue": "marts.driver_catalogue",
    "groups": "marts.driver_control_groups",
    "eligibility": "marts.driver_control_eligibility",
}
TABLES = {
    "effects": "analytics.driver_effects",
    "specifications": "analytics.driver_specifications",
    "dose_response": "analytics.driver_dose_response",
    "placebos": "analytics.driver_placebos",
}
NO_OUTCOME = "this source tells no first-year retention: nobody's term one year after the first is known"


def analyse_sources(
    store: Warehouse, folder: Path, on_progress=lambda _: None, minimum_group: int = MINIMUM
) -> dict[str, pd.DataFrame]:
    """The four tables over all sources of the marts; a source without the outcome has rows that say so.

    The rows are sorted once, into a file in `folder`: the analysis passes over them some fifty times. No figure is
    about fewer rows than `minimum_group`.
    """
    import pandas as pd

    seeds = {name: store.read(table) for name, table in SEEDS.items()}
    results: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for source in sorted(store.read("core.dim_source", ["source"])["source"]):
        with TemporaryDirectory(dir=folder) as spool:
            batches = {level: _rows(store, seeds, level, source, Path(spool) / level) for level in MARTS}
            reasons = {level: NO_OUTCOME for level, rows in batches.items() if rows is None}
            on_progress(f"{source}: {', '.join(level for level in batches if level not in reasons) or NO_OUTCOME}")
            found = driver_effects(
                batches,
                catalogue=seeds["catalogue"],
                groups=seeds["groups"],
                eligibility=seeds["eligibility"],
                reasons=reasons,
                minimum_group=minimum_group,
            )
        for name in TABLES:
            results[name].append(getattr(found, name).assign(source=source))
    return {name: pd.concat(frames or [pd.DataFrame()], ignore_index=True) for name, frames in results.items()}


def _rows(store: Warehouse, seeds: Mapping[str, pd.DataFrame], level: str, source: str, file: Path) -> Batches | None:
    """A stream of the level's rows with a known outcome, by program and learner; None if there are none."""
    import pyarrow as pa

    keys, mart = Columns(), MARTS[level]
    there = store.columns().get(mart, {})
    if keys.outcome not in there:
        return None
    wanted = [keys.program, keys.learner, keys.term, keys.outcome]
    if level == "learner_course":
        wanted += [keys.course, keys.dropped]
    last = wanted[-2] if level == "learner_course" else keys.term
    wanted += [*seeds["catalogue"]["mart_column"], *seeds["groups"]["mart_column"]]
    columns = ", ".join(identifier(name) for name in dict.fromkeys(wanted) if name in there)
    query = (
        f"select {columns} from {mart} where source = {literal(source)} and {keys.outcome} is not null "
        f"order by {keys.program}, {keys.learner}, {last}"
    )
    writer, count = None, 0
    for batch in store.batches(query):
        batch = _with_looked_up_text(batch)
        writer = writer or pa.ipc.new_stream(str(file), batch.schema)
        writer.write_batch(batch)
        count += batch.num_rows
    if writer is not None:
        writer.close()
    return partial(_read, file) if count else None


def _read(file: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    with pa.memory_map(str(file)) as source:
        yield from pa.ipc.open_stream(source)


def _with_looked_up_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Text as dictionaries: the work of comparing it is done once, not in every pass."""
    import pyarrow as pa

    columns = [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
