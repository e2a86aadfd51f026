"""What a run says on the console while it works: one line per thing that happened, no machinery."""

import logging
import sys
import time
from typing import Any

import dagster as dg

# What dagster-dbt says of itself; dbt's own lines stand between.
QUIET = ("A dbt subsetted execution", "Copying `", "Running dbt command", "Finished dbt command")


_started = time.monotonic()


def say(line: str) -> None:
    """Print a line with the time since the start.

    For what comes by the hundred, such as landing files: Dagster stores every message that it logs, at 15 ms of CPU.
    """
    # The line and its end in one piece: several threads say something.
    print(f"{time.monotonic() - _started:7.1f} s  {line}\n", end="", file=sys.stderr, flush=True)


def _meta(record: logging.LogRecord) -> dict[str, Any]:
    """What Dagster adds to a record: its event if there is one, and the message as it was before it was dressed up."""
    return vars(record)["dagster_meta"]


class ProgressHandler(logging.Handler):
    """Turns Dagster's event records into lines such as `  12.3 s  raw_oulad/studentVle  10,655,280 rows`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of a record, if it has one."""
        event = _meta(record).get("dagster_event")
        line = self._message(record) if event is None else self._event(event)
        if line:
            say(line)

    @staticmethod
    def _message(record: logging.LogRecord) -> str | None:
        if record.levelno < logging.INFO:
            return None
        text = _meta(record)["orig_message"]
        if text.startswith(QUIET):
            return None
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"

    @staticmethod
    def _event(event: dg.DagsterEvent) -> str | None:
        if event.event_type == dg.DagsterEventType.STEP_START:
            return f"▸ {event.step_key}"
        if event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            return f"✓ {event.step_key}  ({event.step_success_data.duration_ms / 1000:.1f} s)"
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            return f"✗ {event.step_key}\n{reason_of(event.step_failure_data)}"
        if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY:
            return f"✗ {event.step_key} is tried again"
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                sign = "✗" if check.severity == dg.AssetCheckSeverity.ERROR else "!"
                return f"{sign} check {check.asset_key.to_user_string()}: {check.check_name}  {check.description or ''}"
        return None


def reason_of(failure) -> str:
    """What went wrong, in the words of the error that a step ended with."""
    if failure.user_failure_data and failure.user_failure_data.description:
        return without_trace(failure.user_failure_data.description)
    error = failure.error
    while error.cause:
        error = error.cause
    return without_trace(error.message)


def without_trace(text: str) -> str:
    """A message without the stack trace that another program, such as dbt, put into it: why, and not where."""
    before, trace, inside = text.partition("Traceback (most recent call last)")
    return f"{before}{inside.rstrip().splitlines()[-1].strip()}" if trace else text


@dg.logger(config_schema=None, description="One line per step, message and failed check")
def progress(_: dg.InitLoggerContext) -> logging.Logger:
    # Steps and checks come at debug level; the handler leaves out what else does.
    logger = logging.Logger("progress", logging.DEBUG)
    logger.addHandler(ProgressHandler())
    return logger


@dg.definitions
def console() -> dg.Definitions:
    return dg.Definitions(loggers={"console": progress})
