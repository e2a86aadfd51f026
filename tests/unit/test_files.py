"""A file is replaced as a whole or stays as it was."""

import os
import stat
from pathlib import Path

import pytest

from dagster_project.base.engine import open_engine
from dagster_project.base.files import replaced
from dagster_project.ingest.sql import copy_to_parquet
from dagster_project.settings import Settings
from tests.disk import note_what_reaches_the_disk


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "register.json"
    path.write_text("earlier")
    path.chmod(0o640)
    return path


def test_readers_find_the_earlier_content_until_the_new_one_is_whole(file):
    with replaced(file) as incoming:
        incoming.write_text("new")
        assert file.read_text() == "earlier"
    assert file.read_text() == "new"
    assert (mode(file), names(file.parent)) == (0o640, ["register.json"])


@pytest.mark.parametrize("wanted", [None, 0o600])
def test_what_fails_leaves_the_earlier_file_and_nothing_else(file, wanted):
    def fail() -> None:
        with replaced(file, mode=wanted, synced=True) as incoming:
            incoming.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (file.read_text(), mode(file), names(file.parent)) == ("earlier", 0o640, ["register.json"])


def test_only_its_owner_may_read_a_file_that_is_not_whole(file):
    earlier = os.umask(0)
    try:
        with replaced(file, mode=0o644) as incoming:
            incoming.write_text("new")
            assert mode(incoming) == 0o600
    finally:
        os.umask(earlier)
    assert mode(file) == 0o644


def test_what_a_kill_left_is_neither_kept_nor_read(file):
    (file.parent / ".register.json.incoming").write_text("of a killed attempt, and longer")
    with replaced(file) as incoming:
        assert not incoming.exists()
        incoming.write_text("new")
    assert (file.read_text(), names(file.parent)) == ("new", ["register.json"])


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(file, monkeypatch):
    done = note_what_reaches_the_disk(monkeypatch)
    with replaced(file, synced=True) as incoming:
        incoming.write_text("new")

    folder = file.parent.name
    assert done == [("on disk", ".register.json.incoming"), ("in place", "register.json"), ("on disk", folder)]


def test_the_engine_writes_into_the_hidden_file_itself(tmp_path):
    """A temporary file of the engine's own would outlive a kill, with rows of learners in it."""
    earlier = os.umask(0)
    try:
        engine = open_engine(Settings(home=tmp_path / "home"))
        with engine as connection, replaced(tmp_path / "rows.parquet", mode=0o600) as incoming:
            before = incoming.stat().st_ino
            connection.execute(copy_to_parquet("select 7 as n", incoming))
            assert (incoming.stat().st_ino, mode(incoming)) == (before, 0o600)
    finally:
        os.umask(earlier)
    assert names(tmp_path) == ["home", "rows.parquet"]
