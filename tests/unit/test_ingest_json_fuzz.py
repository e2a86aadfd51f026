"""Whatever lines land: those that Python reads as JSON objects are accepted, all others refused with their bytes."""

import json
import math
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.landing_files import Bench, gzipped

FEW = 150
MANY = int(os.environ.get("FUZZ_EXAMPLES", "500"))
LONGEST = 400
CONTRACT = f"""
sources:
  - name: raw_fuzzed
    config: {{meta: {{csv: {{null_values: []}}, contract: fuzzed}}}}
    tables:
      - name: events
        config:
          meta:
            delivery: append
            format: jsonl
            record_from: "{{"
            stringified: [event, context.more]
            drop_paths: [event.text, context.more.mail, secret]
            max_record_bytes: {LONGEST}
        columns:
          - {{name: name, data_type: varchar, config: {{meta: {{path: [name, "context['a.b']"]}}}}}}
          - {{name: place, data_type: varchar, config: {{meta: {{path: ["event.list[1]"]}}}}}}
          - {{name: learner, data_type: varchar, config: {{meta: {{pii: pseudonym, path: [user, event.user]}}}}}}
          - {{name: body, data_type: varchar, config: {{meta: {{path: "$"}}}}}}
"""
KEYS = ["name", "event", "context", "more", "text", "mail", "secret", "user", "list", "a.b", "é", "x/y", ""]
PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\r", b"\n", b"\n\n", b"\r\n", b"\0", b"\1", b"\xff", b"\xe9"),
    *(b"NaN", b"-Infinity", b"inf", b"nAn", b"\\ud800", b"\\u0000", b'\\"', b",}", b", ]", b"}{", b"/**/", b"\t"),
    *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"1e999", b"01", b"-", b"[" * 300, b"x" * LONGEST, b"'", b" ", b"\xe2\x80\xa8"),
]


def objects() -> st.SearchStrategy:
    """Objects with the keys that the contract names, at any depth, some of them strings of JSON."""
    texts = st.one_of(st.sampled_from(["", "inf", ": NaN, inf", ",}", "ä", "🙂", "\0"]), st.text(max_size=6))
    scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), texts)
    values = st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
            inner.map(json.dumps),
        ),
        max_leaves=8,
    )
    return st.dictionaries(st.sampled_from(KEYS), values, max_size=6)


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Lines of objects behind prefixes, perhaps with accidents."""
    data = b""
    for record in draw(st.lists(objects(), max_size=6)):
        text = json.dumps(record, ensure_ascii=draw(st.booleans())).encode(errors="replace")
        prefix = draw(st.sampled_from([b"", b"", b"INFO [user 7] - ", b" "]))
        data += prefix + text + draw(st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\n\n"]))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 4]))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 9)))
        piece = draw(st.sampled_from([*PIECES, b"", data[start:end] * 2]))
        data = data[:start] + piece + data[end if draw(st.booleans()) else start :]
    return data


# --- the oracle: what Python makes of the same lines


def expected_record(line: bytes) -> dict | None:
    """The object of a line; None where it is to be refused."""
    if len(line) > LONGEST:
        return None

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        text = line.decode()
        record = json.loads(text[text.index("{") :], parse_constant=refuse)
        json.dumps(record, ensure_ascii=False).encode()  # no half of a character
    except ValueError:
        return None
    return record if isinstance(record, dict) and not _infinite(record) else None


def _infinite(value) -> bool:
    if isinstance(value, dict | list):
        return any(_infinite(item) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and math.isinf(value)


def opened(value):
    """The list or object that a string holds, or a string within it."""
    inner = value
    for _ in range(2):
        if isinstance(inner, str):
            try:
                inner = expected_json(inner)
            except ValueError:
                return value
    return inner if isinstance(inner, dict | list) else value


def expected_json(text: str):
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    found = json.loads(text, parse_constant=refuse)
    if _infinite(found):
        raise ValueError("infinite")
    json.dumps(found, ensure_ascii=False).encode()
    return found


def expected_body(record: dict) -> dict:
    """The record as the column of the whole has it."""
    body = json.loads(json.dumps(record))
    for parent, key, hidden in ((body, "event", ("text", "user")), (body.get("context"), "more", ("mail",))):
        if isinstance(parent, dict) and parent.get(key) is not None:
            parent[key] = opened(parent[key])
            if not isinstance(parent[key], dict | list):
                del parent[key]  # no object, and what is hidden may stand in it
        if isinstance(parent, dict) and isinstance(parent.get(key), dict):
            for name in hidden:
                parent[key].pop(name, None)
    body.pop("secret", None)
    body.pop("user", None)
    return body


def has_double_keys(line: bytes) -> bool:
    """Whether an object of the line has a key twice: which of them counts is nobody's promise."""
    found: list[bool] = []

    def see(pairs: list[tuple]) -> dict:
        found.append(len({key for key, _ in pairs}) < len(pairs))
        for _, value in pairs:
            if isinstance(value, str) and value[:1] in ("{", "["):
                look(value)
        return dict(pairs)

    def look(text: str) -> None:
        try:
            json.loads(text, object_pairs_hook=see)
        except ValueError:
            return

    look(line[line.index(b"{") :].decode())
    return any(found)


class Fuzzed:
    """A warehouse in which every example is a source of its own."""

    def __init__(self, folder: Path) -> None:
        self.bench, self.examples, self.accepted, self.refused = Bench(folder, CONTRACT), 0, 0, 0

    def example(self, data: bytes, packing: str) -> None:
        self.examples += 1
        source = f"s{self.examples}"
        landing = self.bench.landing / source
        landing.mkdir()
        pack = {".gz": gzipped, ".zst": lambda plain: pa.compress(plain, codec="zstd", asbytes=True)}.get(packing)
        (landing / f"events.jsonl{packing}").write_bytes(pack(data) if pack else data)
        load = self.bench.load("events", source, landing)
        if load.refused_files:
            reason = load.refused_files[0].reason
            is_no_text = b"\0" in data[:1000] or data.startswith((b"\xff\xfe", b"\xfe\xff"))
            assert is_no_text or "file is empty" in reason or "written in another encoding" in reason, reason
            return
        lines = [line for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.rstrip(b"\r")]
        assert load.records == len(lines)
        rows = {row[5]: row for row in self.bench.rows("events", source)}
        refused = {number: reason for number, reason, _ in self.bench.quarantine("events", source)}
        assert sorted([*rows, *refused]) == list(range(1, len(lines) + 1))
        for number, line in enumerate(lines, start=1):
            record = expected_record(line.rstrip(b"\r"))
            assert (record is not None) == (number in rows), (line, refused.get(number))
            if record is not None:
                self.accepted += 1
                if not has_double_keys(line):
                    assert json.loads(rows[number][3]) == expected_body(record), line
            else:
                self.refused += 1
                assert refused[number]


def fuzz(folder: Path, examples: int) -> Fuzzed:
    fuzzed = Fuzzed(folder)

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(logs(), st.sampled_from(["", "", "", ".gz", ".zst"]))
    def run(data: bytes, packing: str) -> None:
        fuzzed.example(data, packing)

    run()
    return fuzzed


def test_whatever_lines_land_python_and_the_loader_agree(tmp_path):
    fuzzed = fuzz(tmp_path, FEW)
    assert min(fuzzed.accepted, fuzzed.refused) > FEW / 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_many_lines_land(tmp_path):
    fuzzed = fuzz(tmp_path, 10 * MANY)
    print(f"\n{fuzzed.examples:,} files of JSON lines: {fuzzed.accepted:,} accepted, {fuzzed.refused:,} refused")
