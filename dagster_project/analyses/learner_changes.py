"""What deliveries tell anew of learners, day by day: of a snapshot raw keeps the newest file alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from dagster_project.analyses.tables import CONTRACTS, withdraw_refused
from dagster_project.base.sql import identifier, literal

if TYPE_CHECKING:
    from dagster_project.settings import Settings
    from dagster_project.store.warehouse import Warehouse

TABLE = "analytics.learner_changes"
READS = ("core.dim_learner",)
KEYS = ("source", "learner_key", "changed_on")
ATTRIBUTES = tuple(x.name for x in CONTRACTS[TABLE].columns if x.name not in KEYS)


def append_changes(
    store: Warehouse, settings: Settings, delivered_on: Mapping[str, date], today: date
) -> dict[str, int]:
    """Append the learners who are new or of whom an attribute changed, under their source and the day of its delivery.

    They are compared with what they were before that day, so that the same day again, after a kill or a second
    delivery, gives what it would have given at once.

    Args:
        delivered_on: day of the last delivery by source; of a source that is not named nobody noted it.

    Returns:
        Rows of the day by source.
    """
    withdraw_refused(settings, [TABLE])
    days = {
        # A clock that was set back ends no state before it began.
        source: max(delivered_on.get(source, newest or today), newest or date.min)
        for source, newest in _newest(store)
    }
    runs = {source: f"{source}.{day}" for source, day in days.items()}
    found = store.append_all(TABLE, {runs[x]: _changes(x, day) for x, day in days.items()}, CONTRACTS[TABLE])
    store.withdraw(CONTRACTS[TABLE], [run for run, count in found.items() if not count])
    return {source: found[run] for source, run in runs.items()}


def _newest(store: Warehouse) -> list[tuple[str, date | None]]:
    """Every source with the last day on which something of it was appended."""
    query = (
        f"select source, max(changed_on) from (select source, null::date as changed_on from core.dim_learner "
        f"union all select source, changed_on from {TABLE} where source in (select source from core.dim_learner)) "
        "group by source order by source"
    )
    return [
        (source, newest)
        for batch in store.batches(query)
        for source, newest in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]


def _changes(source: str, day: date) -> str:
    """Query of a source's learners who are not as they were before a day."""
    names = [identifier(name) for name in ATTRIBUTES]
    differs = " or ".join(f"learners.{name} is distinct from earlier.{name}" for name in names)
    return f"""
        with earlier as (
            select * from {TABLE} where source = {literal(source)} and changed_on < date {literal(str(day))}
            qualify row_number() over (partition by learner_key order by changed_on desc) = 1
        )
        select
            learners.source, learners.learner_key, date {literal(str(day))} as changed_on,
            {", ".join(f"learners.{name}" for name in names)}
        from core.dim_learner as learners
        left join earlier on learners.learner_key = earlier.learner_key
        where learners.source = {literal(source)} and (earlier.learner_key is null or {differs})
    """
