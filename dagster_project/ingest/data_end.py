"""How far the data of a source reach, found in raw before any model is built, as `core.dim_source` has it afterwards.

The last day with at least 5 % of the median rows of the 28 days with data before it (`least_share_of_usual_rows` and
`usual_days` of dbt's vars), by received time where the contract has one, else by event date, in the source's time zone;
never later than the present. The clock of one device moves nothing.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from statistics import median

from dagster_project.base.engine import open_engine
from dagster_project.base.sql import identifier, literal
from dagster_project.contracts.reading import read_yaml
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest import audit
from dagster_project.settings import REPOSITORY, Settings

EVENT_DAYS_READ = (64, 512, None)
"""So many of the newest event days are read at first, more where they do not tell enough, and at last all."""
LATE_DAYS = 14
"""What was received in the first so many days of these may belong to event days before them."""


def data_end(contract: Contract, table: Table, source: str, settings: Settings, now: datetime) -> date | None:
    """Last day of the data of an event table; None: there is none.

    Args:
        now: UTC without zone.
    """
    days = sorted(audit.event_days(contract, table, source, settings))
    zone = _time_zone(contract, source, settings)
    for count in EVENT_DAYS_READ:
        read = days if count is None else days[-count:]
        if not read:
            return None
        rows = {day: n for day, n in _rows(contract, table, source, read, zone, settings).items() if day <= now.date()}
        if len(read) == len(days):
            return last_usual_day(rows)
        told = sorted(day for day in rows if (day - read[0]).days >= LATE_DAYS)
        end = last_usual_day({day: rows[day] for day in told})
        if end and told.index(end) >= _usual()[1]:
            return end
    return None


def last_usual_day(rows: Mapping[date, int]) -> date | None:
    """The last day that has enough rows against the days with data before it."""
    share, usual_days = _usual()
    days = sorted(rows)
    for place in reversed(range(len(days))):
        before = [rows[day] for day in days[max(place - usual_days, 0) : place]]
        if not before or rows[days[place]] >= share * median(before):
            return days[place]
    return None


def _rows(
    contract: Contract, table: Table, source: str, days: list[date], zone: str, settings: Settings
) -> Mapping[date, int]:
    """Rows by the day on which they were received."""
    if not table.received_time:
        counts: Counter = Counter()
        for file in audit.raw_files(contract, table, source, settings):
            if file.day and file.day >= days[0]:
                counts[file.day] += file.rows
        return counts
    folder = settings.raw_dir / contract.name / table.name / f"source={source}"
    files = [path for day in days for path in sorted((folder / f"event_date={day}").glob("*.parquet"))]
    times = ", ".join(identifier(x) for x in (table.received_time, table.event_time) if x)
    query = (
        f"select coalesce(cast(timezone({literal(zone)}, timezone('UTC', coalesce({times}))) as date), "
        "event_date) as received_on, count(*) "
        "from read_parquet(?, hive_partitioning = true, hive_types = {source: varchar, event_date: date}) "
        "group by received_on"
    )
    return dict(_found(query, files, settings))


def _time_zone(contract: Contract, source: str, settings: Settings) -> str:
    """The zone that the source tells for all that it delivers; UTC where it tells none that the engine knows."""
    folder = settings.raw_dir / contract.name / "institutions" / f"source={source}"
    files = sorted(folder.glob("*.parquet"))
    query = "select min(time_zone) from read_parquet(?) where time_zone in (select name from pg_timezone_names())"
    return (_found(query, files, settings)[0][0] if files else None) or "UTC"


_FOUND: dict[tuple, list[tuple]] = {}
"""By query and by path, time and size of the files: of the same files the same is found. A run asks a dozen times."""


def _found(query: str, files: list[Path], settings: Settings) -> list[tuple]:
    key = (query, *((str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in files))
    if key not in _FOUND:
        with open_engine(settings) as connection:
            rows = connection.execute(query, [[str(path) for path in files]]).fetchall()
        if len(_FOUND) >= 64:
            _FOUND.clear()
        _FOUND[key] = rows
    return _FOUND[key]


@cache
def _usual() -> tuple[float, int]:
    variables = read_yaml(REPOSITORY / "dbt" / "dbt_project.yml")["vars"]
    return variables["least_share_of_usual_rows"], variables["usual_days"]
