"""Every path, limit and secret of the project, in one place. An unknown setting is an error."""

import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, PositiveInt, SecretStr, TypeAdapter, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent
PREFIX = "LEARNING_WAREHOUSE_"
MINIMUM_KEY_LENGTH = 32
MEMORY_SHARE = 0.6  # the rest is for Python, whose frames and models stand beside the engine
LEAST_MEMORY = 256 << 20  # with less the engine can do nothing, however full the machine is
CONTROL_GROUPS = Path("/sys/fs/cgroup")
# Settings that are no more, and what takes their place.
_ADDRESSES = "ALERT_ADDRESSES"
REPLACED = {
    f"{PREFIX}{name}": f"{PREFIX}{_ADDRESSES}='{example}'"
    for names, example in (
        (("ALERT_WEBHOOK_URL",), '["jsons://host/path"]'),
        (
            (
                "ALERT_SMTP_HOST",
                "ALERT_SMTP_PORT",
                "ALERT_SMTP_STARTTLS",
                "ALERT_SMTP_USER",
                "ALERT_SMTP_PASSWORD",
                "ALERT_EMAIL_FROM",
                "ALERT_EMAIL_TO",
            ),
            '["mailtos://user:password@host:587?from=sender&to=receiver"]',
        ),
    )
    for name in names
}


class Settings(BaseSettings):
    """Read from the environment (`LEARNING_WAREHOUSE_<NAME>`) and from `.env` at the top of the repository.

    Raises:
        pydantic.ValidationError: a value of the wrong type, an unknown setting in `.env`, a weak key in production.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=REPOSITORY / ".env", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(REPOSITORY / "warehouse", description="Folder of all that a run writes")
    environment: Literal["demo", "production"] = Field("demo", description="Production refuses generated or weak keys")
    memory_limit: str = Field(
        default_factory=lambda: memory_for_engine(),
        description="Memory limit of the engine, as DuckDB writes it; without it, 60 % of what is free at the start",
    )
    threads: PositiveInt = Field(2, description="Threads of the engine")
    pseudonym_key: SecretStr | None = Field(None, description="Key of the pseudonyms; generated once for a demo")
    publication_key: SecretStr | None = Field(
        None, description="Key of other pseudonyms in all that is published; another one changes them all"
    )
    lock_timeout_seconds: Annotated[float, Field(ge=0)] = Field(
        3600, description="How long a run waits for another one that writes"
    )
    maximum_refused_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="Share of a table's rows in quarantine above which the run stops"
    )
    raw_retention_days: dict[str, PositiveInt] = Field(
        {}, description='Days that raw keeps an event table, as JSON: {"events": 1095}, or {"campus.events": 1095}'
    )
    maximum_file_bytes: PositiveInt = Field(
        64 << 30, description="Largest landing file that is unpacked, in bytes of its uncompressed content"
    )
    maximum_compression_ratio: PositiveInt = Field(
        200, description="Uncompressed by compressed size above which a large file is taken for a zip bomb"
    )
    erase_from_landing: bool = Field(
        False, description="Whether an erasure removes the learner from landing files too, other than archives"
    )
    minimum_group_size: Annotated[int, Field(ge=2)] = Field(
        10, description="Fewest learners of a group whose figures are published"
    )
    at_risk_high_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.10, description="Share of a cohort that a team can call at once: the band high"
    )
    at_risk_medium_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.15, description="Share of a cohort that it can call next: the band medium"
    )
    at_risk_capacity: dict[str, tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]] = (
        Field(
            {},
            description='Both shares of single programs by program_key, as JSON: {"campus:P01": [0.05, 0.10]}',
        )
    )
    at_risk_holdout_share: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="Random share of learners that is not contacted, the only way to measure what contacts do"
    )
    at_risk_pinned_models: str = Field(
        "", description="Versions of models, by commas, that score instead of the champions: the way back"
    )
    clock: datetime | None = Field(
        None, description="Moment at which a run begins, as ISO 8601, for rehearsals; the machine's clock when not set"
    )
    snapshots_kept: PositiveInt = Field(3, description="Published snapshots that are kept, the current one included")

    largest_course_error: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2,
        description="Largest standard error, in sds of ability, of where a course lies among the others before its "
        "questions are on a skill's scale",
    )

    alert_addresses: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description='Apprise addresses that are told of failed runs, as JSON: ["mailtos://…", "slack://…"]'
    )

    call_list_webhook: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="The same, told how many are newly on the call list, silent or off it, and where the file lies"
    )

    @field_validator("alert_addresses", "call_list_webhook", mode="before")
    @classmethod
    def _read_addresses(cls, value: object) -> object:
        """Refuse what Apprise cannot send to, before a run needs it; a message never repeats an address."""
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else ()
            except ValueError:
                value = None
        if not isinstance(value, list | tuple):
            raise ValueError(
                'expected a JSON list of Apprise addresses in quotes, such as ["mailtos://…", "slack://…"]; found '
                "something else (not repeated here: it may hold a password)"
            )
        addresses = [one.get_secret_value() if isinstance(one, SecretStr) else one for one in value]
        for number, address in enumerate(addresses, start=1):
            if fault := _fault_of_address(address, addresses[: number - 1]):
                raise ValueError(f"address {number} of {len(addresses)} {fault}")
        return tuple(addresses)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: dict) -> dict:
        known = {PREFIX + name.upper() for name in cls.model_fields}
        # Those of `.env` are among the values; of the environment only what is known is.
        given = sorted({name.upper() for name in (*os.environ, *values) if name.upper().startswith(PREFIX)})
        if replaced := [name for name in given if name in REPLACED]:
            instead = "; ".join(dict.fromkeys(REPLACED[name] for name in replaced))
            raise ValueError(
                f"{', '.join(replaced)}: no longer a setting. One list of Apprise addresses tells who gets alerts: "
                f"{instead} (https://appriseit.com/services has the address of each service)"
            )
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"unknown in the environment: {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
        return values

    @model_validator(mode="after")
    def _refuse_weak_key(self) -> "Settings":
        keys = {"PSEUDONYM_KEY": self.pseudonym_key, "PUBLICATION_KEY": self.publication_key}
        for name, secret in keys.items():
            if self.environment != "production" or (secret is None and name == "PUBLICATION_KEY"):
                continue
            key = secret.get_secret_value() if secret else ""
            if len(key) < MINIMUM_KEY_LENGTH or len(set(key)) < 10:
                raise ValueError(
                    f"{PREFIX}{name} is {'missing' if not key else 'weak'}: in production it must have at least "
                    f"{MINIMUM_KEY_LENGTH} characters, 10 of them different. "
                    "Make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
                )
        if self.publication_key and self.publication_key == self.pseudonym_key:
            raise ValueError(f"{PREFIX}PUBLICATION_KEY is the same as {PREFIX}PSEUDONYM_KEY: it must be another one")
        if self.publication_key and not self.publication_key.get_secret_value():
            raise ValueError(f"{PREFIX}PUBLICATION_KEY is empty: leave it out to publish the inner pseudonyms")
        return self

    def share(self, workers: int) -> "Settings":
        """The same with a part of the engine's threads and memory, for each of several engines side by side."""
        if self.memory_limit.endswith("%"):
            memory = f"{float(self.memory_limit[:-1]) / workers}%"
        else:
            memory = f"{TypeAdapter(ByteSize).validate_python(self.memory_limit) // workers >> 20}MiB"
        return self.model_copy(update={"threads": max(1, self.threads // workers), "memory_limit": memory})

    def environment_of_dbt(self) -> dict[str, str]:
        """Variables that `dbt/profiles.yml` and the models read, so that dbt and Python mean the same warehouse."""
        return {
            f"{PREFIX}HOME": str(self.home.resolve()),
            f"{PREFIX}MEMORY_LIMIT": self.memory_limit,
            f"{PREFIX}THREADS": str(self.threads),
            f"{PREFIX}MINIMUM_GROUP_SIZE": str(self.minimum_group_size),
        }

    @property
    def raw_dir(self) -> Path:
        """Loaded rows, as Parquet files by contract, table, source and event date."""
        return self.home / "raw"

    @property
    def quarantine_dir(self) -> Path:
        """Refused rows with their reasons."""
        return self.home / "quarantine"

    @property
    def identity_dir(self) -> Path:
        """What tells who a pseudonym is: for the owner of the process only."""
        return self.home / "identity"

    @property
    def generated_key_file(self) -> Path:
        """Key of the pseudonyms of a demo that sets none; it is made when it is first needed."""
        return self.identity_dir / "pseudonym.key"

    @property
    def artifacts_dir(self) -> Path:
        """What runs leave beside tables: models, pages, evidence."""
        return self.home / "artifacts"

    @property
    def models_dir(self) -> Path:
        """Trained at-risk models."""
        return self.artifacts_dir / "models"

    @property
    def compiled_marts_dir(self) -> Path:
        """SQL that built the marts, by folder of the models."""
        return self.artifacts_dir / "compiled_marts"

    @property
    def pages_dir(self) -> Path:
        """Pages as the last run wrote them, until a publication copies them."""
        return self.artifacts_dir / "pages"

    @property
    def call_lists_dir(self) -> Path:
        """Call lists without names as the last run wrote them, until a publication copies them."""
        return self.artifacts_dir / "call_lists"

    @property
    def named_call_lists_dir(self) -> Path:
        """Call lists with names, beside the identity store and like it for the owner of the process only."""
        return self.home / "call_lists"

    @property
    def data_docs_dir(self) -> Path:
        """What the suites found, as pages."""
        return self.artifacts_dir / "data_docs"

    @property
    def alerts_dir(self) -> Path:
        """Alerts that not every address has accepted yet."""
        return self.artifacts_dir / "alerts"

    @property
    def published_dir(self) -> Path:
        """Snapshots, and `current`, the link to the newest."""
        return self.home / "published"

    @property
    def published_for_dir(self) -> Path:
        """Snapshots of single consumers, which hold their rows only."""
        return self.home / "published_for"

    @property
    def temp_dir(self) -> Path:
        """Where engines spill; emptied when a run takes the write lock."""
        return self.home / "tmp"

    @property
    def build_database(self) -> Path:
        """DuckDB file that runs build in; readers have the snapshots."""
        return self.home / "build.duckdb"

    @property
    def lock_file(self) -> Path:
        """Held by the one process that may write."""
        return self.home / "write.lock"


@cache
def memory_for_engine() -> str:
    """Memory limit where none is set: a share of what is free now, the same for the whole life of the process.

    In a container, of what its limit leaves.
    """
    import psutil

    free = min([psutil.virtual_memory().available, *_left_by_control_groups(Path("/proc/self/cgroup"))])
    return f"{max(LEAST_MEMORY, int(free * MEMORY_SHARE)) >> 20}MiB"


def _left_by_control_groups(of_process: Path) -> Iterator[int]:
    """Bytes that the limits of the process's control group (version 2) and of those around it leave.

    Files that the kernel merely keeps at hand count as used there; it gives them up when memory is asked for.
    """
    try:
        group = next(line[3:] for line in of_process.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    inner = CONTROL_GROUPS / group.strip("/")
    for folder in (inner, *(outer for outer in inner.parents if outer.is_relative_to(CONTROL_GROUPS))):
        try:
            limit, used, details = ((folder / f"memory.{name}").read_text() for name in ("max", "current", "stat"))
        except OSError:  # the outermost group has no limit, and a container may not see its outer groups
            continue
        if limit.strip() != "max":
            kept = dict(line.split() for line in details.splitlines()).get("inactive_file", 0)
            yield max(0, int(limit) - int(used) + int(kept))


def _fault_of_address(address: object, earlier: list) -> str | None:
    """Why an alert cannot be sent to an address, in words that hold its schema and nothing else of it."""
    if not isinstance(address, str):
        return f"is of the type {type(address).__name__}, not text"
    match = re.match(r"([a-zA-Z][a-zA-Z0-9]{0,19})://", address)
    if match is None:
        return "does not begin with a schema such as mailtos:// or slack://"
    schema = match[1].lower()
    if re.search(r"[\s\x00-\x1f\x7f]", address):
        return f"({schema}) holds a blank or a control character: write %20 for a blank"
    if address in earlier:
        return f"({schema}) stands in the list twice"

    import apprise

    # Its messages repeat parts of addresses: they stay out of the logs of whoever listens to all loggers.
    logging.getLogger("apprise").propagate = False
    if apprise.Apprise.instantiate(address) is None:
        hint = " A webhook that takes JSON is jsons://host/path." if schema in ("http", "https") else ""
        return (
            f"({schema}) is none that Apprise can send to: a schema that it does not know, or a part is missing.{hint} "
            f"{REPOSITORY / '.venv/bin/apprise'} -vv -b test '<the address>' says more; https://appriseit.com/services "
            "has the form of each"
        )
    return None
