"""What the command line starts, and how far it can be reached."""

import os

import pytest

from dagster_project.__main__ import _parser
from dagster_project.commands.ui import perform
from dagster_project.settings import Settings


@pytest.fixture
def started(monkeypatch):
    """The command that takes the place of this process."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda path, command: commands.append(command))
    monkeypatch.setattr(os, "chdir", lambda path: None)
    return commands


def test_the_ui_is_reached_from_this_machine_alone_unless_told_otherwise(started):
    perform(Settings(), _parser().parse_args(["ui"]))
    (command,) = started
    assert command[command.index("--host") + 1] == "127.0.0.1"
    perform(Settings(), _parser().parse_args(["ui", "--host", "10.0.0.5"]))
    assert started[1][started[1].index("--host") + 1] == "10.0.0.5"
