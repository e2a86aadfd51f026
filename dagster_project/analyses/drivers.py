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
GRADUATED = "is_graduated"
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
            rows_of = {level: _rows(store, seeds, level, source, Path(spool) / level) for level in MARTS}
            batches = {level: without for level, (without, _) in rows_of.items()}
            reasons = {level: NO_OUTCOME for level, rows in batches.items() if rows is None}
            on_progress(f"{source}: {', '.join(level for level in batches if level not in reasons) or NO_OUTCOME}")
            found = driver_effects(
                batches,
                with_graduates={level: rows for level, (_, rows) in rows_of.items()},
                catalogue=seeds["catalogue"],
                groups=seeds["groups"],
                eligibility=seeds["eligibility"],
                reasons=reasons,
                minimum_group=minimum_group,
            )
        for name in TABLES:
            results[name].append(getattr(found, name).assign(source=source))
    return {name: pd.concat(frames or [pd.DataFrame()], ignore_index=True) for name, frames in results.items()}


def _rows(
    store: Warehouse, seeds: Mapping[str, pd.DataFrame], level: str, source: str, file: Path
) -> tuple[Batches | None, Batches | None]:
    """Streams of the level's rows with a known outcome, by program and learner; None if there are none.

    The first is without those who had completed the program by then: a full load graduates sooner, which would else
    count as an effect. The second has them as retained; None if the source knows of none.
    """
    import pyarrow as pa

    keys, mart = Columns(), MARTS[level]
    there = store.types(mart)
    if keys.outcome not in there:
        return None, None
    wanted = [keys.program, keys.learner, keys.term, keys.outcome]
    if level == "learner_course":
        wanted += [keys.course, keys.dropped]
    last = wanted[-2] if level == "learner_course" else keys.term
    wanted += [*seeds["catalogue"]["mart_column"], *seeds["groups"]["mart_column"]]
    columns = ", ".join(identifier(name) for name in dict.fromkeys(wanted) if name in there)
    graduated = "false"
    if GRADUATED in store.types(MARTS["learner_program"]):
        graduated = (
            f"({keys.program}, {keys.learner}) in (select {keys.program}, {keys.learner} "
            f"from {MARTS['learner_program']} where {GRADUATED})"
        )
    query = (
        f"select {columns}, {graduated} as {GRADUATED} from {mart} "
        f"where source = {literal(source)} and {keys.outcome} is not null "
        f"order by {keys.program}, {keys.learner}, {last}"
    )
    writer, count, graduates = None, 0, 0
    for batch in store.batches(query):
        batch = _with_looked_up_text(batch)
        writer = writer or pa.ipc.new_stream(str(file), batch.schema)
        writer.write_batch(batch)
        count += batch.num_rows
        graduates += batch.column(GRADUATED).true_count
    if writer is not None:
        writer.close()
    rows = partial(_read, file)
    without = partial(_read, file, without_graduates=True) if graduates else rows
    return without if count > graduates else None, rows if graduates else None


def _read(file: Path, *, without_graduates: bool = False) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.compute as pc

    with pa.memory_map(str(file)) as source:
        for batch in pa.ipc.open_stream(source):
            if without_graduates:
                batch = batch.filter(pc.call_function("invert", [batch.column(GRADUATED)]))
            if batch.num_rows:
                yield batch


def _with_looked_up_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Text as dictionaries: the work of comparing it is done once, not in every pass."""
    import pyarrow as pa

    columns = [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
