"""`make find-learner`: from a published pseudonym back to the learner."""

import argparse

from dagster_project.settings import Settings


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 when somebody bears the pseudonym, 2 when nobody does."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.privacy.learner_lookup import find_learner

    print(*find_learner(settings, CONTRACTS.values(), arguments.pseudonym), sep="\n")
    return 0
