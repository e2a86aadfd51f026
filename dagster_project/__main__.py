"""The command line behind the Makefile: the arguments of every verb. What a verb does is `commands/<verb>.py`."""

import argparse
import gc
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.commands.interruption import take_signals

if TYPE_CHECKING:
    from dagster_project.settings import Settings

LOOPBACK = "127.0.0.1"


def main() -> int:
    """Run a verb; returns the exit status.

    0 done; 1 not done, and the output says why; 2 nothing was begun, and the output says why; 130 and 143 stopped by
    Ctrl-C or SIGTERM.
    """
    arguments = _parser().parse_args()
    take_signals()
    gc.set_threshold(200_000, 20, 20)  # of so many objects few are garbage, and looking for it costs more than they do
    # From here on a signal ends the process in words: what takes a while to import comes after that.
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from dagster_project.commands.environment import fault_of_the_machine, known_error, say, wrong_settings
    from dagster_project.settings import Settings

    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        say(f"A setting is wrong, and nothing was done:\n{wrong_settings(error)}")
        return 2
    try:
        return _perform(arguments, settings)
    except Exception as error:
        if known := known_error(error):
            say(f"\n{known}")
            return 2
        fault = fault_of_the_machine(error)
        if fault is None:
            raise
        say(
            f"\nThe run broke off: {fault}. Nothing was lost, and what was published before stays published. See that "
            f"{settings.home} can be written and has room, then run it again: it takes up where it was."
        )
        return 1


def _perform(arguments: argparse.Namespace, settings: "Settings") -> int:
    from dagster_project.commands.environment import prepare_environment

    prepare_environment(settings)
    # What one verb needs, another does not wait for.
    verb = import_module(f"dagster_project.commands.{arguments.verb.replace('-', '_')}")
    return verb.perform(settings, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dagster_project", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="load, build, check and publish one source")
    run.add_argument("--source", required=True, help="name of the source, part of every key")
    run.add_argument("--landing", type=Path, help="folder or zip file with its files; remembered for later runs")
    run.add_argument("--everything", action="store_true", help="make all tables again, also those that nothing changed")
    run.add_argument("--contract", help="contract that the files follow; default: the source's name")
    demo = verbs.add_parser("demo", help="simulate a university, and run it through everything")
    demo.add_argument("--students", type=int, help="degree learners with a known first year; default: as in the report")
    demo.add_argument("--seed", type=int, default=1)
    check = verbs.add_parser("check-contract", help="what a contract makes of some files, in a warehouse of its own")
    check.add_argument("--contract", required=True, help="name of the contract")
    check.add_argument("--landing", type=Path, required=True, help="folder or zip file with the files")
    erase = verbs.add_parser("erase", help="remove a learner everywhere; repeat it after an interruption")
    erase.add_argument("--learner", required=True, help="the learner's id, as the source's own files write it")
    erase.add_argument("--source", help="their source; may be left out when the warehouse has one")
    publish_for = verbs.add_parser("publish-for", help="a file of its own for a program, university or organization")
    publish_for.add_argument("--program", help="id or key of a program")
    publish_for.add_argument("--university", help="name of a university, or <source>:<name>: all its programs")
    publish_for.add_argument("--organization", help="id or key of an organization")
    find = verbs.add_parser("find-learner", help="from a published pseudonym back to the learner")
    find.add_argument("--pseudonym", required=True, help="a learner_id, a learner_key or a key that begins with one")
    call_list = verbs.add_parser("call-list", help="the published call list with names, for its owner alone")
    call_list.add_argument("--program", help="id, key or name of a program; default: all, and the courses of none")
    verbs.add_parser("search-identifiers", help="search everything that runs write for names and e-mail addresses")
    ui = verbs.add_parser("ui", help="the Dagster UI on loopback")
    ui.add_argument("--port", type=_port, default=3000)
    ui.add_argument(
        "--host", default=LOOPBACK, help="it has no login: another address needs a proxy that authenticates"
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number from 1 to 65535, such as 3000")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
