"""Keyed hashes: HMAC-SHA256 of a text, in Python and in SQL.

What loading calls pseudonyms and what erasure remembers of a learner are such hashes. The key comes from
`ingest.identity.read_key`.
"""

import hashlib
import hmac

import duckdb

LENGTH = 32
BLOCK = 64


def keyed_hash(value: str, key: bytes) -> str:
    """HMAC-SHA256(key, UTF-8 text), the first 128 bits as 32 hexadecimal digits; `keyed_hash_sql` computes the same."""
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:LENGTH]


def set_key(connection: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """Gives a connection the key that `keyed_hash_sql` uses, as a variable, so that no statement or error shows it."""
    block = (hashlib.sha256(key).digest() if len(key) > BLOCK else key).ljust(BLOCK, b"\0")
    for name, pad in (("inner_pad", 0x36), ("outer_pad", 0x5C)):
        connection.execute(f"set variable {name} = ?", [bytes(byte ^ pad for byte in block)])


def keyed_hash_sql(text: str) -> str:
    """SQL of the hash of a varchar expression (RFC 2104, spelled out since the engine has SHA-256 but no HMAC)."""
    inner = f"unhex(sha256(getvariable('inner_pad') || encode({text})))"
    return f"left(sha256(getvariable('outer_pad') || {inner}), {LENGTH})"
