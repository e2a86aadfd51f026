"""`make search-identifiers`: search all that runs write for the learners' names and e-mail addresses."""

import argparse

from dagster_project.settings import Settings


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 when nothing was found, 1 when something was."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.privacy.identifier_search import search_identifiers

    search = search_identifiers(CONTRACTS.values(), settings)
    print(search)
    return 1 if search.hits else 0
