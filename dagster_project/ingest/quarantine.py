"""Where refused rows and refused files are kept, with their reasons.

Refused rows of a file lie in `quarantine/<contract>/<table>/source=<name>/<file_key>.parquet`: `file`, `record`,
`reason`, `raw_bytes`, the exact bytes of the record with its line end (of a Parquet file: the row as JSON). A file
refused whole lies beside it under `files/`. Tables with direct identifiers have the same layout under
`identity/quarantine/`, owner-only; where a table has pseudonyms only, the bytes of those fields (and of columns unknown
to the contract) are masked, and whole files lie under `identity/quarantine/` too. Of JSON, what the contract drops is
masked everywhere, and a record in which that cannot be told, because it is no JSON, is masked wholly.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dagster_project.base.files import replaced
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest.identity import owner_only
from dagster_project.ingest.packing import ENDINGS
from dagster_project.settings import Settings

BATCH, BATCH_BYTES = 10_000, 32 << 20
ARCHIVES = (*ENDINGS, ".zip", ".parquet")
UNREADABLE = "_unreadable"
"""Stands for the table where a container cannot be opened, so that nobody knows which tables it holds."""


def rows_folder(contract: Contract, table: Table, source: str, settings: Settings) -> Path:
    """Folder of a table's refused rows."""
    return _root(table.has_direct, settings) / contract.name / table.name / f"source={source}"


def files_folder(contract: Contract, table: Table | None, source: str, settings: Settings) -> Path:
    """Folder of the files of a table that were refused whole; `table` None: of containers that cannot be opened."""
    personal = any(x.is_private for x in (contract.tables if table is None else [table]))
    folder = UNREADABLE if table is None else table.name
    return _root(personal, settings) / contract.name / folder / f"source={source}" / "files"


def kept_name(file_key: str, name: str) -> str:
    """File name under which a refused file is kept: its key, and what of its own name is harmless."""
    return f"{file_key}-{re.sub(r'[^A-Za-z0-9._-]', '_', Path(name).name)[-80:]}"


def keep_file(path: Path, folder: Path, file_name: str, settings: Settings) -> Path:
    """Copies a file that was refused whole into `folder`; returns where it lies now."""
    _make(folder, settings)
    with replaced(folder / file_name, mode=0o600 if settings.identity_dir in folder.parents else None) as incoming:
        shutil.copyfile(path, incoming)
    return folder / file_name


def mask_file(path: Path, masked: Callable[[bytes], bytes]) -> None:
    """Replaces a file that was refused whole by what `masked` makes of its lines; an archive is removed instead.

    Damaged archives cannot be searched, and the original of the copy that lies here is in the landing place.
    """
    if path.suffix in ARCHIVES:
        path.unlink()
        return
    mode = path.stat().st_mode & 0o7777
    with replaced(path, mode=mode) as incoming, path.open("rb") as original, incoming.open("wb") as copy:
        copy.writelines(masked(line) for line in original)


def write_rows(rows: Iterable[tuple[int, str, bytes]], file: str, path: Path, settings: Settings) -> int:
    """Writes refused rows (record, reason, bytes) to a Parquet file; returns their number."""
    import pyarrow as pa  # only where there is something to quarantine
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("file", pa.string()), ("record", pa.int64()), ("reason", pa.string()), ("raw_bytes", pa.binary())]
    )
    _make(path.parent, settings)
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            records, reasons, data = zip(*batch, strict=True)
            writer.write_batch(pa.record_batch([[file] * len(batch), records, reasons, data], schema=schema))
            count += len(batch)
    return count


def _batches(rows: Iterable[tuple[int, str, bytes]]) -> Iterator[list[tuple[int, str, bytes]]]:
    """Refused rows in lists that fit into memory."""
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += len(row[2])
        if len(batch) == BATCH or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _root(personal: bool, settings: Settings) -> Path:
    return settings.identity_dir / "quarantine" if personal else settings.quarantine_dir


def _make(folder: Path, settings: Settings) -> None:
    if settings.identity_dir in folder.parents:
        owner_only(folder, settings.identity_dir)
    else:
        folder.mkdir(parents=True, exist_ok=True)
