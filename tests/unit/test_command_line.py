"""What the command line starts, and how far it can be reached."""

import os

import pytest

from dagster_project.__main__ import _parser
from dagster_project.commands import ui
from dagster_project.settings import Settings


@pytest.fixture
def started(monkeypatch):
    """The command that takes the place of this process."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda path, command: commands.append(command))
    monkeypatch.setattr(os, "chdir", lambda path: None)
    monkeypatch.setattr(ui, "check_port", lambda host, port: None)  # which addresses this machine has plays no part
    return commands


def test_the_ui_is_reached_from_this_machine_alone_unless_told_otherwise(started):
    ui.perform(Settings(), _parser().parse_args(["ui"]))
    (command,) = started
    assert command[command.index("--host") + 1] == "127.0.0.1"
    ui.perform(Settings(), _parser().parse_args(["ui", "--host", "10.0.0.5"]))
    assert started[1][started[1].index("--host") + 1] == "10.0.0.5"
