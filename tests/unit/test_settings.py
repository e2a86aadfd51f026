"""Settings: wrong ones are refused before anything is written."""

import psutil
import pytest
from pydantic import ValidationError

from dagster_project import settings as module
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


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 10 GiB free on which the process's control group is /outer/inner."""
    monkeypatch.delenv("LEARNING_WAREHOUSE_MEMORY_LIMIT", raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10 << 30})())
    monkeypatch.setattr(module, "CONTROL_GROUPS", tmp_path)
    of_process = tmp_path / "of_process"
    of_process.write_text("4:memory:/other\n0::/outer/inner\n")
    groups = module._left_by_control_groups
    monkeypatch.setattr(module, "_left_by_control_groups", lambda _: groups(of_process))
    (tmp_path / "outer/inner").mkdir(parents=True)
    module.memory_for_engine.cache_clear()
    yield tmp_path
    module.memory_for_engine.cache_clear()


def limit_group(folder, limit):
    """A control group that uses 3 GiB, of which the kernel would give up one."""
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{3 << 30}\n")
    (folder / "memory.stat").write_text(f"anon {2 << 30}\ninactive_file {1 << 30}\n")


@pytest.mark.parametrize(
    ("limits", "megabytes"),
    [
        ({}, 6144),
        ({"outer/inner": "max"}, 6144),
        ({"outer/inner": 4 << 30}, 1228),
        ({"outer": 7 << 30, "outer/inner": 100 << 30}, 3072),
        ({".": 7 << 30}, 3072),
        ({"outer/inner": 2 << 30}, 256),
    ],
)
def test_the_engine_gets_a_share_of_what_the_machine_and_the_container_have_free(machine, limits, megabytes):
    for group, limit in limits.items():
        limit_group(machine / group, limit)
    assert Settings().memory_limit == f"{megabytes}MiB"


def test_the_share_of_memory_is_settled_once_for_the_process_and_for_dbt_and_gives_way_to_a_setting(
    machine, monkeypatch
):
    settings = Settings()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1 << 30})())
    assert Settings().memory_limit == settings.memory_limit
    assert settings.environment_of_dbt()["LEARNING_WAREHOUSE_MEMORY_LIMIT"] == settings.memory_limit
    monkeypatch.setenv("LEARNING_WAREHOUSE_MEMORY_LIMIT", "700MB")
    assert Settings().memory_limit == "700MB"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("pseudonym_key", STRONG),
        ("publication_key", STRONG),
        ("alert_addresses", [f"json://user:{STRONG}@uni.example/{STRONG}"]),
    ],
)
def test_no_secret_is_shown_or_handed_to_dbt(name, given):
    value = STRONG
    settings = Settings(**{"environment": "production", "pseudonym_key": "fedcba9876543210" * 4} | {name: given})
    shown = (repr(settings), str(settings.model_dump()), settings.model_dump_json(), str(settings.environment_of_dbt()))
    assert [text for text in shown if value in text] == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('["json://uni.example/ok", "json://u:T0KEN@uni.example/a b"]', r"address 2 of 2 \(json\) holds a blank"),
        ('["json://uni.example/T0KEN\\n"]', r"address 1 of 1 \(json\) holds a blank or a control character"),
        ('["slack://T0KEN/x"]', r"address 1 of 1 \(slack\) is none that Apprise can send to"),
        ('["bogus://T0KEN"]', r"address 1 of 1 \(bogus\) is none that Apprise can send to"),
        ('["https://uni.example/T0KEN"]', r"\(https\) .* A webhook that takes JSON is jsons://host/path"),
        ('["T0KEN"]', "address 1 of 1 does not begin with a schema"),
        ('["json://u/T0KEN", "json://u/T0KEN"]', r"address 2 of 2 \(json\) stands in the list twice"),
        ('["json://u/T0KEN", 3]', "address 2 of 2 is of the type int, not text"),
        ("json://uni.example/T0KEN", "expected a JSON list of Apprise addresses"),
        ('{"json": "T0KEN"}', "expected a JSON list of Apprise addresses"),
    ],
)
def test_an_address_that_cannot_be_sent_to_is_refused_without_repeating_it(given, told, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_ALERT_ADDRESSES", given)
    with pytest.raises(ValidationError, match=told) as error:
        Settings()
    assert "T0KEN" not in str(error.value)


@pytest.mark.parametrize("given", ["", "[]"])
def test_no_address_is_no_alert(given, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_ALERT_ADDRESSES", given)
    assert Settings().alert_addresses == ()


@pytest.mark.parametrize(("name", "instead"), [("WEBHOOK_URL", "jsons://"), ("SMTP_PASSWORD", "mailtos://")])
def test_a_setting_that_was_replaced_says_by_what(name, instead, monkeypatch, tmp_path):
    told = f"LEARNING_WAREHOUSE_ALERT_{name}: no longer a setting.*LEARNING_WAREHOUSE_ALERT_ADDRESSES=.*{instead}"
    (tmp_path / "env").write_text(f"LEARNING_WAREHOUSE_ALERT_{name}=T0KEN\n")
    with pytest.raises(ValidationError, match=told) as in_file:
        Settings(_env_file=tmp_path / "env")
    monkeypatch.setenv(f"LEARNING_WAREHOUSE_ALERT_{name}", "T0KEN")
    with pytest.raises(ValidationError, match=told) as in_environment:
        Settings()
    assert "T0KEN" not in str(in_file.value) + str(in_environment.value)
