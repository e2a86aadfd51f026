"""What Python computed, as Arrow tables of a contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dagster_project.base.errors import StoreError
from dagster_project.contracts.tables import Column, TableContract

if TYPE_CHECKING:
    import pandas as pd

ARROW_TYPES = {
    "varchar": pa.string(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}


def to_arrow(frame: pd.DataFrame, contract: TableContract) -> pa.Table:
    """A frame with exactly the contract's columns and types: columns that it does not have are null.

    A column with nulls holds whole numbers as floats, and one of nothing but nulls has no type of its own: both come
    out as the contract says.

    Raises:
        StoreError: a column that the contract does not have, or a value that its type does not hold.
    """
    known = {column.name for column in contract.columns}
    unknown = [name for name in frame.columns if name not in known]
    if unknown:
        raise StoreError(
            f"Rows for {contract.table} have columns that its contract does not have: {', '.join(unknown)}. "
            "Describe them there, or leave them out"
        )
    return pa.table({column.name: _array(frame, column, contract.table) for column in contract.columns})


def _array(frame: pd.DataFrame, column: Column, table: str) -> pa.Array:
    import pandas as pd

    kind = ARROW_TYPES[column.data_type]
    if column.name not in frame:
        return pa.nulls(len(frame), kind)
    values = frame[column.name]
    if pa.types.is_integer(kind):
        # Arrow would cut 3.5 in an object column down to 3 without a word.
        numbers = pd.to_numeric(values, errors="coerce")
        broken = values[values.notna() & ~(numbers % 1 == 0)]
        if len(broken):
            raise StoreError(
                f"Rows for {table}, column {column.name}: found {broken.iloc[0]}, expected {column.data_type}: "
                "round it where it is computed, or make the column double in the contract"
            )
    try:
        return pa.array(values.astype(object), kind, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise StoreError(
            f"Rows for {table}, column {column.name}: expected {column.data_type}. Arrow says: {error}"
        ) from error
