"""What is told of a failed run: what failed, how many rows, where to find them, what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from dagster_project.settings import Settings

SHOWN = 8
"""Failures that an alert names; the terminal gets all."""


@dataclass(frozen=True)
class Problem:
    """What stopped a run.

    Attributes:
        where: the step, or the table and its check.
        found: what was found and what to do, in sentences.
        rows: rows that broke the rule; None where it judges none.
        look: where these rows are: a folder, or SQL.
        cause: what kind of failure it was, in words that hold nothing of the data.
        remedy: what to do, in words that were written before there were data.
        folder: a folder or page of the warehouse where more is.
    """

    where: str
    found: str
    rows: int | None = None
    look: str | None = None
    cause: str | None = None
    remedy: str | None = None
    folder: str | None = None

    def __str__(self) -> str:
        lines = [f"  ✗ {self.where}", *(f"      {line}" for line in self.found.strip().splitlines())]
        if self.rows is not None:
            lines.append(f"      rows: {self.rows:,}")
        if self.look:
            lines.append(f"      where: {self.look}")
        return "\n".join(lines)

    def for_alert(self) -> str:
        """The same without `found` and `look`, which may repeat a value of a row: an engine quotes what it refuses."""
        lines = [f"  ✗ {self.where}"]
        if self.cause:
            lines.append(f"      {self.cause}")
        if self.rows is not None:
            lines.append(f"      rows: {self.rows:,}")
        if self.folder:
            lines.append(f"      where: {self.folder}")
        lines.append(f"      what to do: {self.remedy or 'read what it found, with examples, in the UI (make ui)'}")
        return "\n".join(lines)


def failure_text(settings: Settings, problems: Sequence[Problem], not_made: int) -> str:
    """What failed and what it means for readers, on one screen of the machine on which it ran.

    Args:
        not_made: tables and pages that the run did not make because of it.
    """
    return _text(settings, [str(problem) for problem in problems], not_made, len(problems))


def alert_text(settings: Settings, problems: Sequence[Problem], not_made: int) -> str:
    """The same to be sent away: names of tables, checks and steps, counts, places and remedies, and no value of a row.

    Args:
        not_made: tables and pages that the run did not make because of it.
    """
    return _text(settings, [problem.for_alert() for problem in problems], not_made, SHOWN)


def _text(settings: Settings, problems: Sequence[str], not_made: int, shown: int) -> str:
    database = settings.published_dir / "learning_warehouse.duckdb"
    kept = f"The published snapshot is as it was: {database}" if database.exists() else "Nothing is published yet."
    lines = ["What failed:", *problems[:shown]]
    if not problems:
        lines.append("  ✗ the run ended before it could say why; its log does (make ui)")
    if len(problems) > shown:
        lines.append(f"  … and {len(problems) - shown} more (make ui)")
    if not_made:
        lines.append(f"{not_made} tables and pages that come after it were not made.")
    return "\n".join(
        [
            *lines,
            kept,
            f"Refused rows with their reasons: {settings.quarantine_dir}",
            f"All runs: {settings.pages_dir / 'pipeline_status.html'}",
            f"All expectations, with examples: {settings.data_docs_dir / 'index.html'}",
            "Every step with its log, every check with examples: make ui",
        ]
    )
