"""`make erase`: ask for the erasure of a learner, and run their source, which carries it out."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from dagster_project.commands.environment import say
from dagster_project.commands.run import run_source
from dagster_project.settings import Settings


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 when the learner is erased, 1 when the run did not publish, 2 when it could not start."""
    from dagster_project.base.locks import WriteLock
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.ingest.requests import ErasureError, Erasures
    from dagster_project.ingest.sources import find_source, registered_sources
    from dagster_project.privacy.erasure.request import ask
    from dagster_project.privacy.erasure.stages import receipt_path

    learner, name = arguments.learner, arguments.source
    known = registered_sources(settings)
    if name is None and len(known) != 1:
        raise ErasureError(
            f"The warehouse {settings.home} has {len(known) or 'no'} sources"
            + (f" ({', '.join(x.name for x in known)}): say whose learner it is with SOURCE=…" if known else "")
        )
    source = find_source(settings, name or known[0].name)
    lock = WriteLock(settings, run_id=f"erase-{os.getpid()}", what="make erase", on_wait=say)
    erasure = ask(settings, CONTRACTS[source.contract], source, learner, lock)
    receipt = receipt_path(settings, erasure)
    if erasure.stage == "finished":
        print(f"Erased before, on {erasure.finished_at}: nothing is left to do. Receipt: {receipt}")
    else:
        say(f"Erasure {erasure.receipt} is noted; a run of source {source.name} carries it out …")
        if status := run_source(settings, source):
            print("The learner is NOT erased yet: earlier snapshots hold them. Put right what failed, and erase again.")
            _print_troubled(source.landing, erasure.troubled)
            return status
        (erasure,) = (x for x in Erasures(settings).all() if x.receipt == erasure.receipt)
        print(f"\nErased, with {sum(erasure.removed.values()):,} rows in {len(erasure.removed)} tables and files.")
        print(f"Receipt, without personal data: {receipt}")
    if left := [file for file in erasure.landing if file not in erasure.rewritten]:
        print(f"These files in {source.landing} hold the learner still; no load brings them back:")
        print("".join(f"  {file}\n" for file in left), end="")
    _print_troubled(source.landing, erasure.troubled)
    return 0


def _print_troubled(landing: Path, troubled: Mapping[str, str]) -> None:
    if troubled:
        print(f"These in {landing} could not be searched or cleaned: look yourself whether they hold the learner.")
        print("".join(f"  {file}: {reason}\n" for file, reason in troubled.items()), end="")
