"""`make publish-for`: the file of one program, university or organization, with its rows only."""

import argparse
import os
import sys

from dagster_project.commands.environment import say
from dagster_project.settings import Settings


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 when the consumer has a new file, 2 when not."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.ingest.source_state import source_states
    from dagster_project.privacy.consumers import KINDS
    from dagster_project.privacy.publish_for import OwnTables, publish_consumer
    from dagster_project.report import organization_page
    from dagster_project.report.page import About

    given = [(kind, wanted) for kind in KINDS if (wanted := getattr(arguments, kind))]
    if len(given) != 1:
        print("Say for whom: make publish-for PROGRAM=id | ORGANIZATION=id | UNIVERSITY=name", file=sys.stderr)
        return 2

    def make_page(tables: OwnTables) -> str:
        sources = [x for x in source_states(CONTRACTS, settings) if x.name == tables.source]
        return organization_page.make_page(tables, About.of(sources, settings))

    published = publish_consumer(
        settings,
        CONTRACTS.values(),
        *given[0],
        run_id=f"publish-for-{os.getpid()}",
        make_page=make_page,
        on_progress=say,
    )
    print(published)
    return 0
