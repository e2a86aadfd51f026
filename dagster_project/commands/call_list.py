"""`make call-list`: the published call list with names, in a folder of its own beside the identity store."""

import argparse
import os

from dagster_project.commands.environment import say
from dagster_project.settings import Settings


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 when the pages are written, 2 when not."""
    from dagster_project.base.files import replaced
    from dagster_project.base.locks import WriteLock
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.ingest.identity import owner_only
    from dagster_project.ingest.source_state import source_states
    from dagster_project.privacy.listed_people import read_published_list
    from dagster_project.report.call_lists import Person, make_pages
    from dagster_project.report.page import About
    from dagster_project.store.publish import name_snapshot

    # Meanwhile nobody is erased.
    with WriteLock(settings, run_id=f"call-list-{os.getpid()}", what="make call-list", on_wait=say):
        listed = read_published_list(settings, CONTRACTS.values(), arguments.program)
        people = {key: Person(person.pseudonym, person.identity) for key, person in listed.people.items()}
        scored_on = min((day.date() for day in listed.rows["scored_on"]), default=None)
        about = About.of(source_states(CONTRACTS, settings), settings, scored_on)
        pages = make_pages(listed.rows, about, people=people, has_names=True, reports="../published/reports/")
        folder = owner_only(settings.named_call_lists_dir, settings.named_call_lists_dir)
        # What was asked for before goes: names lie about no longer than somebody works with them.
        for file in folder.iterdir():
            file.unlink()
        for name, html in pages.items():
            with replaced(folder / name, mode=0o600) as incoming:
                incoming.write_text(name_snapshot(html, listed.snapshot_id))
    nameless = sum(not people[key].details for key in set(listed.rows["learner_key"]) if key in people)
    print(f"{len(listed.rows):,} to call in {len(pages) - 1} lists, from snapshot {listed.snapshot_id}.")
    if nameless:
        print(f"The identity store has no name of {nameless:,} of them.")
    print(f"With names, for you alone: {folder / 'index.html'}")
    print("Erasing a learner removes these files; remove them yourself when the calls are made.")
    return 0
