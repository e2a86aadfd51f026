"""What it costs to load landing files of JSON lines: CPU time a megabyte, memory, and every line accounted for.

    python -m benchmarks.landing [--lines 300001] [--broken] [--openedx] [--threads 1]

A tracking log of lines behind a prefix, half of their events strings of JSON, is made and loaded into one table of
envelopes: a hash, eight paths of which one is a pseudonym, and the whole record without what is dropped; with
`--openedx` into the tracking log of that contract, as it ships. With `--broken` one line of a hundred is cut off, two
objects, invalid UTF-8, a string of JSON in a string of JSON (which is read) or, one of a hundred thousand, 5 MB long.
Prints a line; fails where accepted + refused are not the lines.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.contracts.source import read_contract
from dagster_project.ingest.loader import load_table
from dagster_project.settings import Settings

ENVELOPES = """
sources:
  - name: raw_envelopes
    config: {meta: {contract: envelopes}}
    tables:
      - name: events
        config:
          meta:
            delivery: append
            format: jsonl
            record_from: "{"
            key: hash_of_record
            event_time: occurred_at
            stringified: [event]
            drop_paths: [event.body, event.answers, context.email, ip, agent]
        columns:
          - {name: record_hash, data_type: varchar, config: {meta: {required: true, path: "#hash"}}}
          - {name: name, data_type: varchar, config: {meta: {required: true, path: [name, event_type]}}}
          - {name: username, data_type: varchar, config: {meta: {pii: pseudonym, path: [username]}}}
          - {name: course_key, data_type: varchar, config: {meta: {path: [context.course_id]}}}
          - {name: object_id, data_type: varchar, config: {meta: {path: [event.id, event.problem_id]}}}
          - {name: position, data_type: double, config: {meta: {path: [event.currentTime]}}}
          - {name: source_of_event, data_type: varchar, config: {meta: {path: [event_source]}}}
          - {name: occurred_at, data_type: timestamp, config: {meta: {required: true, path: [time]}}}
          - {name: body, data_type: varchar, config: {meta: {path: "$"}}}
"""
START = datetime(2024, 1, 1)


def line(number: int, dice: random.Random) -> str:
    """One line of the log, without its end; about 350 bytes."""
    at = (START + timedelta(seconds=number % 600_000)).isoformat()
    event: object = {"id": f"block{number % 997}", "currentTime": dice.random() * 600, "code": "html5"}
    record = {
        "username": f"learner{number % 20_011}",
        "event_type": "play_video",
        "event_source": "browser",
        "time": f"{at}.123456+00:00",
        "context": {"course_id": f"course-v1:Org+C{number % 40}+2024", "user_id": number % 20_011, "path": "/event"},
        "event": json.dumps(event) if number % 2 else event,
        "ip": "10.0.0.1",
    }
    return f"{at},123 INFO 17 [tracking] [user {number % 20_011}] [ip 10.0.0.1] logger.py:41 - {json.dumps(record)}"


def break_line(text: str, kind: int) -> bytes:
    """The line broken in one of four ways, or with its event written twice as a string, which is read."""
    whole = text.encode()
    if kind == 0:
        return whole[:-30]
    if kind == 1:
        return whole + whole[whole.index(b"{") :]
    if kind == 2:
        return whole.replace(b"learner", b"l\xe9arner", 1)
    if kind == 3:
        return whole.replace(b'"ip": "10.0.0.1"}', b'"ip": "' + b"1" * 5_000_000 + b'"}')
    prefix, brace, rest = text.partition("{")
    record = json.loads(brace + rest)
    record["event"] = json.dumps(json.dumps(record["event"]))
    return (prefix + json.dumps(record)).encode()


def write_log(path: Path, lines: int, *, broken: bool) -> int:
    """Writes the log; returns how many lines are not to be accepted."""
    dice, refused = random.Random(17), 0  # noqa: S311 - nothing is kept secret by it
    with path.open("wb") as out:
        for number in range(lines):
            text = line(number, dice)
            kind = None
            if broken and number % 100 == 50:
                kind = 3 if number % 100_000 == 50 else (0, 1, 2, 4)[number // 100 % 4]
                refused += kind != 4
            out.write((text.encode() if kind is None else break_line(text, kind)) + b"\n")
    return refused


def main() -> None:
    """Makes the log, loads it and prints what it cost."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--lines", type=int, default=300_001)
    arguments.add_argument("--broken", action="store_true")
    arguments.add_argument("--openedx", action="store_true", help="by the contract openedx, which keeps named fields")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--memory", default="600MB", help="limit of the engine; the process needs some more")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        contract = home / "envelopes" / "_envelopes__sources.yml"
        for made in (contract.parent, home / "landing"):
            made.mkdir()
        contract.write_text(ENVELOPES)
        log = home / "landing" / ("tracking.log" if asked.openedx else "events.log")
        expected = write_log(log, asked.lines, broken=asked.broken)
        settings = Settings(
            home=home / "warehouse",
            environment="demo",
            pseudonym_key=None,
            threads=asked.threads,
            memory_limit=asked.memory,
        )
        before, started = time.process_time(), time.monotonic()
        table = (CONTRACTS["openedx"], "tracking_log") if asked.openedx else (read_contract(contract), "events")
        load = load_table(*table, "here", home / "landing", settings)
        cpu, wall = time.process_time() - before, time.monotonic() - started
        size = log.stat().st_size / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{asked.lines:,} lines, {size:,.0f} MB: {load.accepted:,} accepted, {load.refused:,} refused; "
            f"{size / cpu:.0f} MB a CPU second ({cpu:.1f} s), {wall:.1f} s, peak {peak:,.0f} MB"
        )
        if (load.accepted + load.refused, load.refused) != (asked.lines, expected):
            raise SystemExit(f"{expected:,} of {asked.lines:,} lines should have been refused: {load}")


if __name__ == "__main__":
    main()
