"""What must hold of a raw table after each load, across landing, raw, quarantine and the weeks before."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import dagster as dg

from dagster_project.base import clock
from dagster_project.contracts.source import Contract, Table
from dagster_project.defs.instance.failures import REMEDY
from dagster_project.ingest import audit
from dagster_project.ingest.data_end import data_end
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.loader import TableLoad
from dagster_project.ingest.quarantine import rows_folder
from dagster_project.ingest.source_state import Landed, age, newest_at, why_stale
from dagster_project.ingest.sources import Source
from dagster_project.settings import Settings
from dagster_project.stats.volume import TRAILING_WEEKS, Volume, judge_volume

EXAMPLES = 20


def specs(contract: Contract, table: Table) -> list[dg.AssetCheckSpec]:
    """The checks that a table has: all of them those of rows and files, some those of time."""
    key = dg.AssetKey([contract.schema, table.name])
    found = [
        dg.AssetCheckSpec(
            "refused_share_is_small",
            asset=key,
            blocking=True,
            description="The share of rows in quarantine is at most `maximum_refused_share` of the settings.",
        ),
        dg.AssetCheckSpec(
            "files_were_readable",
            asset=key,
            blocking=True,
            description="No landing file was refused as a whole: broken quoting, truncated, another encoding.",
        ),
        dg.AssetCheckSpec(
            "rows_balance",
            asset=key,
            blocking=True,
            description="Of every landing file, records = rows that lie in raw + rows that lie in quarantine, counted "
            "in the files there and not taken from the load.",
        ),
    ]
    if table.is_event:
        found.append(
            dg.AssetCheckSpec(
                "volume_is_usual",
                asset=key,
                description=f"The last seven whole days brought about as many rows as the {TRAILING_WEEKS} weeks "
                "before, or as the same time a year ago did against its own.",
            )
        )
    if table.freshness:
        what = "event" if table.is_event else "delivery"
        limits = [f"it warns after {table.freshness.warn_after}"] if table.freshness.warn_after else []
        limits += [f"it stops the run after {table.freshness.error_after}"] if table.freshness.error_after else []
        found.append(
            dg.AssetCheckSpec(
                "source_is_fresh",
                asset=key,
                blocking=table.freshness.error_after is not None,
                description=f"The age of the newest {what} of a source, as its contract states: {', '.join(limits)}.",
            )
        )
    return found


def of_table(
    contract: Contract, table: Table, loads: Sequence[TableLoad], sources: Sequence[Source], settings: Settings
) -> list[dg.AssetCheckResult]:
    """The results of all of `specs`, of the sources that were loaded."""
    quarantine = str(rows_folder(contract, table, "", settings).parent)
    raw = {source.name: audit.raw_files(contract, table, source.name, settings) for source in sources}
    results = [
        _refused_share_is_small(contract, table, sources, settings, quarantine),
        _files_were_readable(loads, quarantine),
        _rows_balance(contract, table, raw, settings),
    ]
    now = clock.now_as_stored()
    newest = {name: data_end(contract, table, name, settings, now) if table.is_event else None for name in raw}
    if table.is_event:
        results.append(volume_is_usual({name: _by_day(files, newest[name]) for name, files in raw.items()}))
    if table.freshness:
        times = {x.name: newest_at(contract, table, Landed(x), settings, newest[x.name]) for x in sources}
        if table.optional:  # nothing to wait for where a source has never had it
            times = {name: at for name, at in times.items() if at}
        results.append(source_is_fresh(table, times, now))
    return results


def _refused_share_is_small(
    contract: Contract, table: Table, sources: Sequence[Source], settings: Settings, quarantine: str
) -> dg.AssetCheckResult:
    counts = {source.name: Ledger(settings).table_counts(contract.name, table.name, source.name) for source in sources}
    shares = {source: count.refused / count.records for source, count in counts.items() if count.records}
    worst, maximum = max(shares.values(), default=0.0), settings.maximum_refused_share
    return dg.AssetCheckResult(
        check_name="refused_share_is_small",
        passed=worst <= maximum,
        description=None
        if worst <= maximum
        else f"{worst:.2%} of the rows of a source were refused, {maximum:.2%} are permitted. They lie in {quarantine} "
        "with their reasons: have the files corrected and landed again, or raise "
        "LEARNING_WAREHOUSE_MAXIMUM_REFUSED_SHARE.",
        metadata={
            "share by source": shares,
            "maximum": maximum,
            "refused rows": sum(count.refused for count in counts.values()),
            "quarantine": dg.MetadataValue.path(quarantine),
            **_remedy(
                worst > maximum,
                "Have the files corrected and landed again, or raise LEARNING_WAREHOUSE_MAXIMUM_REFUSED_SHARE.",
            ),
        },
    )


def _files_were_readable(loads: Sequence[TableLoad], quarantine: str) -> dg.AssetCheckResult:
    refused = [file for load in loads for file in load.files if file.status == "refused"]
    return dg.AssetCheckResult(
        check_name="files_were_readable",
        passed=not refused,
        description="; ".join(f"{file.name}: {file.reason}" for file in refused) or None,
        metadata={
            "refused files": len(refused),
            "kept in": dg.MetadataValue.path(quarantine),
            **_remedy(bool(refused), "Have the files that were refused as a whole delivered again; the UI names them."),
        },
    )


def _rows_balance(
    contract: Contract, table: Table, raw: dict[str, list[audit.RawFile]], settings: Settings
) -> dg.AssetCheckResult:
    found, told, examples, difference = {}, [], [], 0
    for source, files in raw.items():
        records = Ledger(settings).files(contract.name, table.name, source)
        loaded = [record for record in records if record.status == "loaded"]
        unequal = audit.imbalances(contract, table, source, records, files, settings)
        found[source] = {
            "records of landing": sum(record.records for record in loaded),
            "rows in raw": sum(file.rows for file in files),
            "records refused": sum(record.refused for record in loaded),
            "landing files": len(loaded),
            "landing files out of balance": len(unequal),
        }
        difference += sum(one.difference for one in unequal)
        for one in unequal[:EXAMPLES]:
            name = one.file or f"{one.file_key} (no landing file that is known to be loaded)"
            told.append(f"{name}: {one.records:,} records, {one.raw:,} in raw, {one.quarantine:,} in quarantine")
            examples.append({"source": source, "file": name, "records": one.records, "accepted": one.accepted})
            examples[-1] |= {"raw": one.raw, "quarantine": one.quarantine}
    folder = settings.raw_dir / contract.name / table.name
    metadata: dict = {"found": dg.MetadataValue.json(found)}
    if told:
        metadata[REMEDY] = (
            "Somebody or a broken disk changed what was loaded. Put raw and quarantine back from a backup; or, where "
            "all landing files are still there, remove both folders and run again."
        )
        metadata |= {"unexpected rows": difference, "kept in": dg.MetadataValue.path(str(folder))}
        metadata["examples"] = dg.MetadataValue.json(examples[:EXAMPLES])
    return dg.AssetCheckResult(
        check_name="rows_balance",
        passed=not told,
        description=f"{'; '.join(told[:3])}{' …' if len(told) > 3 else ''}. Somebody or a broken disk changed what was "
        f"loaded. Put the files under {settings.raw_dir} and the quarantine back from a backup; or, where all landing "
        "files are still there, remove both folders and run again: everything is loaded anew."
        if told
        else None,
        metadata=metadata,
    )


def _remedy(is_failed: bool, words: str) -> dict[str, str]:
    """What to do, in words that an alert may carry: no name of a file, no value of a row."""
    return {REMEDY: words} if is_failed else {}


def volume_is_usual(days: dict[str, list[int]]) -> dg.AssetCheckResult:
    """Judges, by source, the rows of every day from its first to its newest one."""
    judged = {source: judge_volume(rows) for source, rows in days.items()}
    told = [f"{source}: {volume.why_unusual}" for source, volume in judged.items() if volume.why_unusual]
    return dg.AssetCheckResult(
        check_name="volume_is_usual",
        passed=not told,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{'; '.join(told)}. Ask whoever delivers whether an export is missing or came twice; a break that "
        "is new this year is known from next year on."
        if told
        else None,
        metadata={"found": dg.MetadataValue.json({source: _volume(volume) for source, volume in judged.items()})},
    )


def _volume(volume: Volume) -> dict:
    if volume.why_not_judged:
        return {"rows in the last week": volume.count, "not judged": volume.why_not_judged}
    empty = len(volume.empty_days)
    return {"rows in the last week": volume.count, "usual": volume.usual, "days without a row that have some": empty}


def source_is_fresh(table: Table, newest: Mapping[str, datetime | None], now: datetime) -> dg.AssetCheckResult:
    """``newest``: time of the newest event or delivery by source, UTC; None: there was none."""
    ages = {source: age(at, now) for source, at in newest.items()}
    stale = {source: why for source, at in newest.items() if (why := why_stale(table, at, now))}
    error_after = table.freshness.error_after if table.freshness else None
    is_error = error_after is not None and any((old := ages[x]) is None or old > error_after for x in stale)
    told = "; ".join(f"{source}: {why}" for source, why in stale.items())
    found = {
        source: {"newest": at.isoformat(timespec="seconds"), "age in days": old.days}
        if at is not None and (old := ages[source]) is not None
        else None
        for source, at in newest.items()
    }
    return dg.AssetCheckResult(
        check_name="source_is_fresh",
        passed=not stale,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=f"{told}. See that exports still reach the landing place; the contract states the age "
        "(config.meta.freshness)."
        if stale
        else None,
        metadata={
            "found": dg.MetadataValue.json(found),
            **_remedy(
                bool(stale),
                "See that exports still reach the landing place; the contract states the age (config.meta.freshness).",
            ),
        },
    )


def _by_day(files: Sequence[audit.RawFile], newest: date | None) -> list[int]:
    """Rows of every day without a gap, from the first to the newest one."""
    if newest is None:
        return []
    first = min(file.day for file in files if file.day)
    rows = [0] * ((newest - first).days + 1)
    for file in files:
        if file.day and file.day <= newest:
            rows[(file.day - first).days] += file.rows
    return rows
