"""Every path, limit and secret of the project, in one place. An unknown setting is an error."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, PositiveInt, SecretStr, TypeAdapter, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent
PREFIX = "LEARNING_WAREHOUSE_"
MINIMUM_KEY_LENGTH = 32


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
    memory_limit: str = Field("1GB", description="Memory limit of the engine, as DuckDB writes it")
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
    at_risk_watch_from: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.4, description="Probability from which a learner's risk is in the band medium"
    )
    at_risk_alert_from: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.6, description="Probability from which a learner's risk is in the band high"
    )
    at_risk_holdout_share: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="Random share of learners that is not contacted, the only way to measure what contacts do"
    )
    at_risk_training_learners: PositiveInt = Field(
        3000, description="Most learners of a source that a model of risk is trained on; more are better and cost more"
    )
    at_risk_pinned_models: str = Field(
        "", description="Versions of models, by commas, that score instead of the champions: the way back"
    )
    snapshots_kept: PositiveInt = Field(3, description="Published snapshots that are kept, the current one included")

    minimum_linking_learners: PositiveInt = Field(
        100, description="Learners who must tie a course to the others before its questions are on a skill's scale"
    )

    alert_webhook_url: SecretStr | None = Field(
        None, description="Address that gets a JSON message when a run fails (Slack, Mattermost, Teams)"
    )
    alert_smtp_host: str = Field("", description="Mail server that sends an e-mail when a run fails; empty: none does")
    alert_smtp_port: PositiveInt = Field(587, description="Its port")
    alert_smtp_starttls: bool = Field(True, description="Whether the connection to it is encrypted by STARTTLS")
    alert_smtp_user: str = Field("", description="User of the mail server; empty: it asks for none")
    alert_smtp_password: SecretStr | None = Field(None, description="Its password")
    alert_email_from: str = Field("", description="Sender of the e-mail")
    alert_email_to: str = Field("", description="Receivers of the e-mail, separated by commas")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: dict) -> dict:
        known = {PREFIX + name.upper() for name in cls.model_fields}
        unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
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

    @model_validator(mode="after")
    def _refuse_mail_without_addresses(self) -> "Settings":
        if self.alert_smtp_host and not (self.alert_email_from and self.alert_email_to):
            raise ValueError(f"{PREFIX}ALERT_SMTP_HOST is set: ALERT_EMAIL_FROM and ALERT_EMAIL_TO are needed with it")
        return self

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
        return self.home / "raw"

    @property
    def quarantine_dir(self) -> Path:
        return self.home / "quarantine"

    @property
    def identity_dir(self) -> Path:
        return self.home / "identity"

    @property
    def artifacts_dir(self) -> Path:
        return self.home / "artifacts"

    @property
    def models_dir(self) -> Path:
        return self.artifacts_dir / "models"

    @property
    def compiled_marts_dir(self) -> Path:
        """SQL that built the marts, by folder of the models."""
        return self.artifacts_dir / "compiled_marts"

    @property
    def pages_dir(self) -> Path:
        return self.artifacts_dir / "pages"

    @property
    def data_docs_dir(self) -> Path:
        return self.artifacts_dir / "data_docs"

    @property
    def published_dir(self) -> Path:
        return self.home / "published"

    @property
    def published_for_dir(self) -> Path:
        """Snapshots of single consumers, which hold their rows only."""
        return self.home / "published_for"

    @property
    def temp_dir(self) -> Path:
        return self.home / "tmp"

    @property
    def build_database(self) -> Path:
        return self.home / "build.duckdb"

    @property
    def lock_file(self) -> Path:
        return self.home / "write.lock"
