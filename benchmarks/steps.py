"""CPU seconds of every step of a run, those of its child processes included.

    python -m benchmarks.steps run --source oulad --landing path/of/anonymisedData.zip

Takes the arguments of `python -m dagster_project`. A run works in one process, so that what the clock of its CPU shows
when a step ends is that step's, but for what goes on beside it in threads.
"""

import os
import re
import sys

from dagster_project.__main__ import main
from dagster_project.defs.instance import progress

BEGUN = re.compile(r"▸ (\S+)")
ENDED = re.compile(r"✓ (\S+)")


def cpu_seconds() -> float:
    """CPU seconds of this process so far."""
    return sum(os.times()[:4])


def run() -> int:
    """Run the command and print its steps; returns its status."""
    begun: dict[str, float] = {}
    spent: dict[str, float] = {}
    say = progress.say

    def note(line: str) -> None:
        say(line)
        if found := BEGUN.match(line):
            begun[found[1]] = cpu_seconds()
        elif (found := ENDED.match(line)) and found[1] in begun:
            name = re.sub(r"^expectations_.*", "expectations", found[1].partition("__")[0])
            spent[name] = spent.get(name, 0.0) + cpu_seconds() - begun.pop(found[1])

    progress.say = note
    status = main()
    whole = cpu_seconds()
    spent["start and rest"] = whole - sum(spent.values())
    print("\n| step | CPU s |\n|---|---|")
    for name, seconds in sorted(spent.items(), key=lambda row: -row[1]):
        print(f"| {name} | {seconds:.1f} |")
    print(f"| all | {whole:.1f} |")
    return status


if __name__ == "__main__":
    sys.exit(run())
