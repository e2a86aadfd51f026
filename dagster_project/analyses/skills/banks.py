"""Frozen item banks: scales on which abilities of different days can be compared, one folder a version.

`artifacts/skills/<source>/<skill>/<version>/` holds `bank.json` (what was calibrated, when, how well) and one Parquet
file a frame. A version is never written twice. Nothing in it is about a single learner.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from dagster_project.base.errors import StoreError
from dagster_project.settings import Settings
from dagster_project.stats.item_response.longitudinal_bank import NODES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StoredBank:
    """One version of a bank.

    Attributes:
        version: day of the calibration, and a number for each extension by new questions
        calibrated_on: last day of the data of the calibration (or recalibration)
        known_on: last day of the data that the version knows
        nodes: quadrature points to score with
        facts: numbers and words about the calibration, as they go to analytics.skill_scales
        frames: items, courses; of a scale also groups, gains and covariance (of the errors of courses' locations and
            gains); of a linked one anchors
    """

    version: str
    calibrated_on: date
    known_on: date
    nodes: int
    facts: dict = field(default_factory=dict)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)


def save_bank(settings: Settings, source: str, skill: str, bank: StoredBank) -> Path:
    """Write a version; complete, or not at all.

    Raises:
        StoreError: the version is there already.
    """
    folder = _folder(settings, source, skill) / bank.version
    if folder.exists():
        raise StoreError(f"Item bank {folder} exists: a frozen bank is never changed. Delete it to calibrate again")
    incoming = folder.with_name(f".{bank.version}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    for name, frame in bank.frames.items():
        frame.to_parquet(incoming / f"{name}.parquet", index=False)
    text = {key: value for key, value in asdict(bank).items() if key != "frames"}
    (incoming / "bank.json").write_text(json.dumps(text, default=str, indent=1) + "\n")
    incoming.replace(folder)
    return folder


def unused_version(settings: Settings, source: str, skill: str, day: date) -> str:
    """The day, or the day and a number where a version of the day exists."""
    taken = {path.name for path in _folder(settings, source, skill).glob("[!.]*")}
    number = 0
    while (version := f"{day}.{number}" if number else day.isoformat()) in taken:
        number += 1
    return version


def latest_bank(settings: Settings, source: str, skill: str, as_of: date) -> StoredBank | None:
    """The newest version that knows nothing later than a day: data of an earlier day must not meet a later bank."""
    import pandas as pd

    found = []
    for path in _folder(settings, source, skill).glob("[!.]*/bank.json"):
        text = json.loads(path.read_text())
        known_on = date.fromisoformat(text["known_on"])
        if known_on <= as_of:
            found.append((known_on, text["version"], path, text))
    if not found:
        return None
    known_on, version, path, text = max(found, key=lambda entry: entry[:2])
    frames = {file.stem: pd.read_parquet(file) for file in sorted(path.parent.glob("*.parquet"))}
    return StoredBank(
        version, date.fromisoformat(text["calibrated_on"]), known_on, text.get("nodes", NODES), text["facts"], frames
    )


def _folder(settings: Settings, source: str, skill: str) -> Path:
    return settings.artifacts_dir / "skills" / quote(source, safe="") / quote(skill, safe="")
