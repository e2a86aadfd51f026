"""What the last publication took, in a file of its snapshot: `versions.json`.

It is swapped in with the snapshot, so that neither is ever without the other. By it a run finds, before anything is
imported, that there is nothing to do; and a plan finds what was built and has not passed its checks.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from dagster_project.base.files import content_hash, replaced
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.plan import Accepted

FILE = "versions.json"
CODE = (
    *("dagster_project", "dbt/models", "dbt/macros", "dbt/seeds", "dbt/tests", "dbt/dbt_project.yml"),
    *("dbt/profiles.yml", "expectations", "uv.lock"),
)
LAYOUT = 1
"""Number of what this module writes; a file of another number is read as none."""
NOT_COMPARED = {"clock", "threads", "memory_limit", "lock_timeout_seconds", "alert_addresses", "call_list_webhook"}
"""Settings that no table and no check depends on."""


@dataclass(frozen=True)
class State:
    """What a publication was made from.

    Attributes:
        snapshot_id: its snapshot.
        code: hash of all code, SQL, suites and versions of libraries.
        settings: hash of all settings that matter.
        sources: contract and landing place of each registered source by name.
        versions: data version of every table and page; of raw tables, of the files that the ledger knows.
        checks: hash of each check that was judged, by "schema.table:check".
        since: first snapshot with this version of a table or page.
        due: when something is to be done though nothing arrives: an analysis that waits, a source that gets old.
        due_reason: what that is.
    """

    snapshot_id: str
    code: str
    settings: str
    sources: Mapping[str, tuple[str, str]]
    versions: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, str] = field(default_factory=dict)
    due: datetime | None = None
    due_reason: str = ""

    @property
    def accepted(self) -> Accepted:
        """The part of it that a plan reads."""
        return Accepted(self.versions, self.checks)

    @property
    def occasion(self) -> str:
        """Tells what is due from what another publication left."""
        return f"{self.snapshot_id}, {self.due}"

    def is_due(self, now: datetime) -> bool:
        """Whether something is to be done by now (UTC without zone) though nothing arrives."""
        return self.due is not None and self.due <= now

    def as_text(self) -> str:
        """As it stands in its file."""
        return json.dumps(asdict(self) | {"layout": LAYOUT}, default=str, sort_keys=True, indent=1) + "\n"


def read(settings: Settings) -> State | None:
    """Of the current snapshot; None where nothing is published, or nothing is known of it."""
    path = settings.published_dir / "current" / FILE
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if values.pop("layout", None) != LAYOUT:
        return None
    values["due"] = values["due"] and datetime.fromisoformat(values["due"])
    values["sources"] = {name: tuple(of_source) for name, of_source in values["sources"].items()}
    return State(**values)


def write(settings: Settings, state: State) -> None:
    """Replace what is known of the current snapshot; its tables stay as they are."""
    with replaced(settings.published_dir / "current" / FILE) as incoming:
        incoming.write_text(state.as_text())


def code_hash() -> str:
    """Hash of everything that decides what a run does and what it computes."""
    return content_hash(REPOSITORY, CODE)


def settings_hash(settings: Settings, key: bytes) -> str:
    """Hash of the settings that matter, keyed with the key of the pseudonyms: it gives no secret away."""
    values = {name: getattr(settings, name) for name in Settings.model_fields if name not in NOT_COMPARED}
    secret = settings.publication_key.get_secret_value() if settings.publication_key else ""
    text = json.dumps(values | {"pseudonym_key": "", "publication_key": secret}, default=str, sort_keys=True)
    return keyed_hash(text, key)
