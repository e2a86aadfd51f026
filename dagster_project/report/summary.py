"""What a run has done, for the person who started it at a terminal."""

from collections.abc import Callable, Mapping, Sequence

import duckdb

from dagster_project.base.engine import one_row, open_database
from dagster_project.report.alert import Problem, failure_text
from dagster_project.settings import Settings
from dagster_project.store.publish import DATABASE, GROUPS_DATABASE


def run_summary(
    settings: Settings,
    source: str,
    is_success: bool,
    seconds: float,
    peak_bytes: int,
    step_seconds: Mapping[str, float],
    problems: Sequence[Problem] = (),
    not_made: int = 0,
    *,
    refused: Sequence[str] = (),
    empty: Callable[[duckdb.DuckDBPyConnection], Sequence[object]] = lambda connection: (),
) -> str:
    """The last lines of `make run`: what was built, how long it took, how much memory, where to look.

    Args:
        seconds: wall time of the whole command.
        peak_bytes: largest resident memory of the run and its child processes together.
        step_seconds: seconds by step.
        problems: what stopped it.
        not_made: tables and pages that it did not make because of that.
        refused: a line for every reason for which rows of the source were refused.
        empty: tells of the published database which answers it does not have, each with its reason.
    """
    cost = f"{seconds:.0f} s, {peak_bytes / 2**30:.2f} GiB of memory at most"
    database = settings.published_dir / DATABASE
    if not is_success:
        return "\n".join([f"\nNot published ({cost}).", failure_text(settings, problems, not_made), *_refused(refused)])
    with open_database(settings, database.resolve()) as connection:
        files, rows, refused_count, first, last = one_row(
            connection,
            "select file_count, row_count, refused_count, first_event_on, last_event_on from _meta.sources "
            "where source = ?",
            [source],
        )
        schemas = connection.execute(
            "select schema_name, count(*), sum(row_count) from _meta.tables group by schema_name order by schema_name"
        ).fetchall()
        without = [str(answer) for answer in empty(connection)]
        snapshot = one_row(connection, "select snapshot_id from _meta.publication")[0]
    lines = [
        f"\nPublished snapshot {snapshot} ({cost}).",
        f"Source {source}: {rows:,} rows from {files} files, {refused_count:,} refused; "
        + ("no dated events." if first is None else f"events from {first:%Y-%m-%d} to {last:%Y-%m-%d}."),
        *(f"  {schema:<10} {tables:>3} tables  {int(count):>12,} rows" for schema, tables, count in schemas),
        *_refused(refused),
        *(["What came out empty, and why:", *without] if without else []),
        "Seconds: "
        + ", ".join(f"{step} {of_step:.0f}" for step, of_step in step_seconds.items() if of_step >= 0.5)
        + f", start and rest {seconds - sum(step_seconds.values()):.0f}",
        "Where to look:",
        f"  {database}  (DuckDB, read-only; warehouse/README.md tells how a BI tool connects)",
        f"  {settings.published_dir / GROUPS_DATABASE}  (for everybody else: groups, no single learners)",
        f"  {settings.published_dir / 'parquet'}  (the same tables as Parquet)",
        "  make ui  (every asset, check and run)",
    ]
    return "\n".join(lines)


def _refused(reasons: Sequence[str]) -> list[str]:
    return ["Refused rows, by reason:", *(f"  {reason}" for reason in reasons)] if reasons else []
