"""One line a folder of the package: lines and branches that the tests reached, from what pytest-cov has measured."""

import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import coverage


def main() -> None:
    """Print the table; pytest-cov has left its data in the working folder."""
    measured = coverage.Coverage()
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        measured.json_report(outfile=str(report))
        files = json.loads(report.read_text())["files"]
    rooms: dict[str, Counter] = defaultdict(Counter)
    for name, file in files.items():
        parts = Path(name).parts
        rooms[parts[1] + "/" if len(parts) > 2 else "loose files"].update(file["summary"])
        rooms["all"].update(file["summary"])
    print(f"\n{'Reached by the tests':<22}{'lines':>15}{'branches':>16}")
    for room in [*sorted(rooms.keys() - {"all"}), "all"]:
        count = rooms[room]
        lines = _share(count["covered_lines"], count["num_statements"])
        print(f"{room:<22}{lines:>15}{_share(count['covered_branches'], count['num_branches']):>16}")


def _share(reached: int, of: int) -> str:
    return f"{reached / of:.1%} of {of:,}" if of else "–"


if __name__ == "__main__":
    main()
