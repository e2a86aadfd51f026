"""An erased learner in files of JSON: gone from raw, quarantine and landing files, and brought back by no load."""

import gzip
import json

import pytest

from dagster_project.ingest.erasure import note_landing_files, request_erasure
from dagster_project.privacy.identifier_search import search_identifiers
from tests.unit.landing_files import Bench

PLATFORM = """
sources:
  - name: raw_platform
    config: {meta: {contract: platform}}
    tables:
      - name: events
        config:
          meta:
            delivery: append
            format: jsonl
            record_from: "{"
            stringified: [event]
            drop_paths: [event.text]
        columns:
          - {name: verb, data_type: varchar, config: {meta: {required: true, path: [name]}}}
          - {name: learner, data_type: varchar, config: {meta: {pii: pseudonym, path: [username, event.user]}}}
          - {name: seconds, data_type: double, config: {meta: {path: [event.seconds]}}}
          - {name: body, data_type: varchar, config: {meta: {path: "$"}}}
      - name: profiles
        config: {meta: {delivery: snapshot, format: json_array, unwrap: [users], drop_paths: [bio]}}
        columns:
          - {name: learner, data_type: varchar, config: {meta: {required: true, pii: pseudonym, path: [id]}}}
          - {name: email, data_type: varchar, config: {meta: {pii: direct, path: [contact.email]}}}
          - {name: visits, data_type: integer}
          - {name: body, data_type: varchar, config: {meta: {path: "$"}}}
"""


def line(**record) -> bytes:
    return b"INFO [user 7] - " + json.dumps({"name": "play"} | record).encode() + b"\n"


EVENTS = [
    line(username="zoë/1", event={"seconds": 1, "text": "hello"}),
    line(username="bob", event={"seconds": 2}),
    line(event=json.dumps({"user": "zoë/1", "seconds": 3})),
    line(username="bob", event={"seconds": "many", "text": "private"}),
    line(username="zoë/1", event={"seconds": "many"}),
    line(username="bob", event="input=private"),
    b'INFO [user 7] - {"username": "bob", "name"\n',
]
PROFILES = [
    {"id": "zoë/1", "contact": {"email": "zoe@uni.example"}, "visits": 1, "bio": "I am Zoë"},
    {"id": "bob", "contact": {"email": "bob.baker@uni.example"}, "visits": 2, "bio": "I am Bob"},
    {"id": "bob", "contact": {"email": "bob.baker@uni.example"}, "visits": "x", "bio": "I am Bob"},
]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, PLATFORM)
    bench.deliver("events.log.gz", gzip.compress(b"".join(EVENTS)))
    bench.deliver("profiles.json", b' {"users": ' + json.dumps(PROFILES).encode() + b', "more": null}\n')
    load(bench)
    return bench


def load(bench):
    return [bench.load(table) for table in ("events", "profiles")]


def test_refused_lines_show_neither_personal_nor_dropped_values(bench):
    refused = {number: data for number, _, data in bench.quarantine("events")}
    assert sorted(refused) == [4, 5, 7]
    assert json.loads(refused[4]) == {"name": "play", "username": "***", "event": {"seconds": "many", "text": "***"}}
    assert refused[7] == b"*" * len(EVENTS[6])
    ((number, _, data),) = bench.quarantine("profiles")  # owner-only: as it was, but for what is dropped
    assert number == 3
    assert json.loads(data) == PROFILES[2] | {"bio": "***"}


def test_no_direct_identifier_lies_outside_of_the_identity_store(bench):
    found = search_identifiers([bench.contract], bench.settings)
    assert (found.identifiers, found.hits) == (2, {})
    bodies = [json.loads(row[2]) for row in bench.rows("profiles")]
    assert bodies == [{"contact": {}, "visits": 1}, {"contact": {}, "visits": 2}]


def test_an_erased_learner_is_gone_and_no_load_brings_them_back(bench):
    request_erasure(bench.settings, bench.contract, "here", learner_id="zoë/1")
    load(bench)
    for again in (False, True):
        if again:
            bench.deliver("events.log.gz", gzip.compress(b"".join(EVENTS) + line(username="bob", event={"seconds": 9})))
            bench.deliver("profiles.json", json.dumps(PROFILES, indent=1).encode())
            assert [(x.records, x.accepted, x.refused) for x in load(bench)] == [(6 - 1, 3, 2), (2, 1, 1)]
        bob = bench.rows("profiles")[0][0]
        assert {row[1] for row in bench.rows("events")} <= {bob}
        assert [row[2] for row in bench.rows("events")] == ([2, None, 9] if again else [2, None])
        assert len(bench.rows("profiles")) == 1


def test_landing_files_are_cleaned_of_the_learners_records_only(bench):
    erasure = request_erasure(bench.settings, bench.contract, "here", learner_id="zoë/1")
    settings = bench.settings.model_copy(update={"erase_from_landing": True})
    noted = note_landing_files(bench.contract, "here", bench.landing, "zoë/1", erasure, settings)
    assert noted.rewritten == ("events.log", "profiles.json")
    assert noted.troubled == {}
    rest = [EVENTS[place] for place in (1, 3, 5, 6)]
    assert gzip.decompress((bench.landing / "events.log.gz").read_bytes()) == b"".join(rest)
    cleaned = (bench.landing / "profiles.json").read_bytes()
    assert cleaned.startswith(b' {"users": [{"id": "bob"')
    assert json.loads(cleaned) == {"users": PROFILES[1:], "more": None}
