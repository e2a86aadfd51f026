"""Models on disk and who is champion: text and JSON under the artifacts, nothing in them can run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dagster_project.base.errors import WarehouseError
from dagster_project.base.files import replaced
from dagster_project.settings import Settings
from dagster_project.stats.risk.drift import Reference
from dagster_project.stats.risk.training import RiskScorer

if TYPE_CHECKING:
    import pandas as pd


class ModelError(WarehouseError, ValueError):
    """A saved model that cannot score."""


def save_scorer(settings: Settings, scorer: RiskScorer, reference: Reference) -> None:
    """Write `<version>.json`, `.txt` and `.reference.json`; the same version again is the same content."""
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    texts = {"json": json.dumps(scorer.to_dict()), "txt": scorer.model.to_text()}
    texts["reference.json"] = json.dumps(reference.to_dict())
    for ending, text in texts.items():
        with replaced(settings.models_dir / f"{scorer.version}.{ending}") as incoming:
            incoming.write_text(text)


def load_scorer(settings: Settings, version: str) -> RiskScorer:
    """Read a model.

    Raises:
        ModelError: its files are not what was registered.
    """
    saved = json.loads((settings.models_dir / f"{version}.json").read_text())
    try:
        scorer = RiskScorer.from_dict(saved, (settings.models_dir / f"{version}.txt").read_text())
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"Model {version} in {settings.models_dir} is of another version of this program ({error!r} does not fit): "
            "let the next run train anew, and take it out of LEARNING_WAREHOUSE_AT_RISK_PINNED_MODELS"
        ) from error
    if scorer.version != version:
        raise ModelError(
            f"The files of model {version} in {settings.models_dir} have changed: their hash is now {scorer.version}. "
            "Restore them, or set LEARNING_WAREHOUSE_AT_RISK_PINNED_MODELS to an older version"
        )
    return scorer


def is_readable(settings: Settings, version: str) -> bool:
    """Whether a registered model's files are there and of this version of the program."""
    try:
        load_scorer(settings, version)
    except (OSError, ModelError):
        return False
    return True


def load_reference(settings: Settings, version: str) -> Reference | None:
    """How the rows lie that a model was trained on; None: it was saved before that was kept."""
    file = settings.models_dir / f"{version}.reference.json"
    return Reference.from_dict(json.loads(file.read_text())) if file.exists() else None


def champion_of(registry: pd.DataFrame, source: str, outcome: str, pinned: str | None = None) -> pd.Series | None:
    """The newest champion's row, or the pinned version's; None: there is none."""
    rows = registry[(registry["source"] == source) & (registry["outcome"] == outcome) & registry["file"].notna()]
    rows = rows[rows["model_version"] == pinned] if pinned else rows[rows["is_champion"]]
    return None if rows.empty else rows.sort_values("trained_at", kind="stable").iloc[-1]


def pinned_version(settings: Settings, registry: pd.DataFrame, source: str, outcome: str) -> str | None:
    """The version that the settings fix for an outcome, if one of theirs belongs to it: of several the newest."""
    pinned = {version.strip() for version in settings.at_risk_pinned_models.split(",") if version.strip()}
    rows = registry[(registry["source"] == source) & (registry["outcome"] == outcome)]
    found = rows[rows["model_version"].isin(pinned)].sort_values("trained_at", kind="stable")
    return None if found.empty else str(found["model_version"].iloc[-1])
