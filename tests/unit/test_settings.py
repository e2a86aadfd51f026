"""Settings: wrong ones are refused before anything is written."""

import pytest
from pydantic import ValidationError

from dagster_project.settings import Settings

STRONG = "0123456789abcdef" * 4


def test_unknown_setting_in_the_environment_is_an_error(monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_MEMORY_LIMT", "2GB")
    with pytest.raises(ValidationError, match="LEARNING_WAREHOUSE_MEMORY_LIMT"):
        Settings()


@pytest.mark.parametrize("key", [None, "short", "a" * 64])
def test_production_refuses_a_missing_or_weak_key(key):
    with pytest.raises(ValidationError, match="LEARNING_WAREHOUSE_PSEUDONYM_KEY"):
        Settings(environment="production", pseudonym_key=key)


@pytest.mark.parametrize("key", ["short", "a" * 64, STRONG])
def test_production_refuses_a_publication_key_that_is_weak_or_the_inner_one(key):
    with pytest.raises(ValidationError, match="LEARNING_WAREHOUSE_PUBLICATION_KEY") as error:
        Settings(environment="production", pseudonym_key=STRONG, publication_key=key)
    assert key not in str(error.value)


def test_weak_key_is_not_shown_in_the_error():
    with pytest.raises(ValidationError) as error:
        Settings(environment="production", pseudonym_key="hunter2hunter2")
    assert "hunter2" not in str(error.value)


def test_production_accepts_a_strong_key():
    assert Settings(environment="production", pseudonym_key=STRONG).environment == "production"


@pytest.mark.parametrize(("limit", "part"), [("1GB", "476MiB"), ("2GiB", "1024MiB"), ("80%", "40.0%")])
def test_engines_side_by_side_share_memory_and_threads(limit, part):
    shared = Settings(memory_limit=limit, threads=3).share(2)
    assert (shared.memory_limit, shared.threads) == (part, 1)


@pytest.mark.parametrize("secret", ["pseudonym_key", "publication_key", "alert_webhook_url", "alert_smtp_password"])
def test_no_secret_is_shown_or_handed_to_dbt(secret):
    value = "0123456789abcdef" * 4
    settings = Settings(**{"environment": "production", "pseudonym_key": "fedcba9876543210" * 4} | {secret: value})
    shown = (repr(settings), str(settings.model_dump()), settings.model_dump_json(), str(settings.environment_of_dbt()))
    assert [text for text in shown if value in text] == []
