"""Rows of `ops.findings`, written by hand."""

from datetime import datetime

CHECKED_AT = datetime(2024, 5, 1, 10)


def finding(table: str, expectation: str = "size_is_there", **found) -> dict:
    """What one expectation found of a table; `found` replaces what is said of one that held."""
    row = {"table_name": table, "expectation": expectation, "position": 1, "column_names": "size", "part": ""}
    row |= {
        "rule": "values to be between (min value 0)",
        "severity": "critical",
        "is_met": "unexpected_count" not in found,
    }
    row |= {"notes": "Ask the registrar <before> noon.", "row_count": 900, "judged_count": 800, "unexpected_count": 0}
    row |= {"observed": "{}", "examples": "[]", "query": None, "error": None, "run_id": "0123"}
    return row | {"validated_at": CHECKED_AT} | found
