"""Twenty million xAPI statements through a whole run: what a large platform's store costs, step by step.

    python -m benchmarks.statements --statements path/of/statements.json.gz --folder FOLDER [--millions 20]

Delivered statements are copied with other ids: each copy is a course of its own, in one of nine years, of learners who
take nine to ten courses each. The copies are written to `FOLDER/landing` (140 MB a million, as .zst) and run into the
warehouse `FOLDER/warehouse` by `benchmarks.steps`. FOLDER needs some 3 GB a million, most of it only while it runs.
"""

import argparse
import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

COPIES_A_FILE = 40
LEARNER_GROUPS = 97
"""The learners of a copy are those of every 97th one."""
YEARS = range(2013, 2022)
CHANGED = re.compile(
    rb'(?<="id": ")(?P<statement>[0-9a-f]{4})(?=[0-9a-f]{4}-[0-9a-f]{4}-)'
    rb'|(?<="account": \{"name": ")(?P<actor>[0-9a-f]{4})(?=[0-9a-f]{4}-[0-9a-f]{4}-)'
    rb'|(?<="timestamp": ")(?P<year>[0-9]{4})'
    rb"|(?<=course-v1:)(?P<course>[^+]+\+[^+]+)(?=\+)"
)


def write_copies(statements: Path, landing: Path, millions: float) -> tuple[int, int]:
    """Writes the copies; returns how many statements, and how many copies they are."""
    text = gzip.decompress(statements.read_bytes())
    records = text.count(b"\n")
    pieces, kinds, position = [], [], 0
    for found in CHANGED.finditer(text):
        pieces.append(text[position : found.start()])
        kinds.append(found.lastgroup or "")
        position = found.end()
    rest = text[position:]
    copies = max(1, round(millions * 1_000_000 / records))
    landing.mkdir(parents=True)
    for first in range(0, copies, COPIES_A_FILE):
        path = landing / f"statements_{first // COPIES_A_FILE:03}.json.zst"
        with pa.CompressedOutputStream(path, "zstd") as out:
            for copy in range(first, min(first + COPIES_A_FILE, copies)):
                new = {
                    "statement": f"{copy:04x}".encode(),
                    "actor": f"{copy % LEARNER_GROUPS:04x}".encode(),
                    "year": f"{YEARS[copy % len(YEARS)]}".encode(),
                    "course": f"Org{copy % 7}+C{copy:05}".encode(),
                }
                out.write(
                    b"".join(part for piece, kind in zip(pieces, kinds, strict=True) for part in (piece, new[kind]))
                )
                out.write(rest)
    return records * copies, copies


def main() -> int:
    """Makes the copies where they are not there yet, and runs them; returns the status of the run."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--statements", type=Path, required=True, help="JSON lines, compressed with gzip")
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--millions", type=float, default=20)
    asked = arguments.parse_args()
    landing = asked.folder / "landing"
    if not landing.exists():
        statements, copies = write_copies(asked.statements, landing, asked.millions)
        print(f"{statements:,} statements in {copies:,} courses", flush=True)
    environment = os.environ | {"LEARNING_WAREHOUSE_HOME": str(asked.folder / "warehouse")}
    command = ["benchmarks.steps", "run", "--source", "store", "--contract", "openedx", "--landing", str(landing)]
    return subprocess.run([sys.executable, "-m", *command], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
