"""Contracts and landing files for the tests of the loader, and a look at what the loader made of them."""

import gzip
import zipfile
from pathlib import Path

import duckdb

from dagster_project.contracts.source import Contract, read_contract
from dagster_project.ingest.erasure import unload
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.loader import TableLoad, load_table
from dagster_project.settings import REPOSITORY, Settings

OULAD = REPOSITORY / "dbt/models/staging/oulad/_oulad__sources.yml"

CAMPUS = """
sources:
  - name: raw_tiny
    config:
      meta:
        contract: tiny
        csv: {delimiter: ",", quote: '"', null_values: ["", "NA"]}
    tables:
      - name: learners
        config: {meta: {delivery: snapshot, key: [learner_id]}}
        columns:
          - {name: learner_id, data_type: bigint, config: {meta: {required: true}}}
          - {name: country, data_type: varchar}
      - name: events
        config:
          meta:
            delivery: append
            event_time: occurred_at
            received_time: received_at
            time_range: {from: 2024-01-01, to: 2024-12-31}
        columns:
          - {name: event_id, data_type: bigint, config: {meta: {required: true}}}
          - {name: note, data_type: varchar}
          - {name: occurred_at, data_type: timestamp, config: {meta: {required: true}}}
          - {name: received_at, data_type: timestamp}
          - {name: minutes, data_type: double}
"""
EVENTS_HEADER = b"event_id,note,occurred_at,received_at,minutes\n"

PERSONAL = """
sources:
  - name: raw_personal
    config: {meta: {contract: personal}}
    tables:
      - name: people
        config: {meta: {delivery: snapshot}}
        columns:
          - {name: person, data_type: varchar, config: {meta: {required: true, pii: pseudonym}}}
          - {name: full_name, data_type: varchar, config: {meta: {pii: direct}}}
          - {name: email, data_type: varchar, config: {meta: {pii: direct, required: true}}}
          - {name: visits, data_type: integer}
      - name: visits
        config: {meta: {delivery: append}}
        columns:
          - {name: person, data_type: varchar, config: {meta: {required: true, pii: pseudonym}}}
          - {name: minutes, data_type: integer}
      - name: messages
        config: {meta: {delivery: append, event_time: sent_at}}
        columns:
          - {name: sender, data_type: varchar, config: {meta: {required: true, pii: pseudonym}}}
          - {name: plain, data_type: varchar}
          - {name: receiver, data_type: varchar, config: {meta: {pii: pseudonym}}}
          - {name: sent_at, data_type: timestamp}
"""


def contract_from(text: str, folder: Path) -> Contract:
    """The contract of a sources YAML, written where its name says it must lie."""
    name = text.split("contract: ")[1].split()[0].strip("}")
    path = folder / name / f"_{name}__sources.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return read_contract(path)


class Bench:
    """One warehouse, one landing folder, one contract."""

    def __init__(self, folder: Path, contract: str | Path = CAMPUS):
        self.settings = Settings(home=folder / "warehouse", environment="demo", pseudonym_key=None)
        self.landing = folder / "landing"
        self.landing.mkdir(exist_ok=True)
        self.contract = (
            read_contract(contract) if isinstance(contract, Path) else contract_from(contract, folder / "contracts")
        )
        self.said: list[str] = []

    def deliver(self, name: str, data: bytes) -> Path:
        path = self.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def load(self, table: str, source: str = "here", landing: Path | None = None) -> TableLoad:
        """As the asset of the table does: first those go who asked to be erased."""
        unload(self.contract, source, self.settings, self.said.append)
        return load_table(
            self.contract, table, source, landing or self.landing, self.settings, progress=self.said.append
        )

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings)

    def rows(self, table: str, source: str = "here") -> list[tuple]:
        """Raw rows in the order of file and record; columns of the contract, then _file and _record."""
        folder = self.settings.raw_dir / self.contract.name / table / f"source={source}"
        if not list(folder.rglob("*.parquet")):
            return []
        return duckdb.sql(
            f"from read_parquet('{folder}/**/*.parquet', hive_partitioning = false) order by _file, _record"
        ).fetchall()

    def quarantine(self, table: str, source: str = "here") -> list[tuple]:
        """Quarantined (record, reason, bytes) in order, from wherever the table's quarantine lies."""
        rows = []
        for root in (self.settings.quarantine_dir, self.settings.identity_dir / "quarantine"):
            for path in sorted((root / self.contract.name / table / f"source={source}").glob("*.parquet")):
                rows += duckdb.sql(f"select record, reason, raw_bytes from '{path}' order by record").fetchall()
        return rows

    def kept(self, table: str, source: str = "here") -> list[Path]:
        """Files refused whole, from wherever they are kept."""
        roots = (self.settings.quarantine_dir, self.settings.identity_dir / "quarantine")
        return [
            path
            for root in roots
            for path in sorted((root / self.contract.name / table / f"source={source}" / "files").glob("*"))
        ]

    def dates(self, table: str, source: str = "here") -> list[str]:
        """Event dates that have a partition."""
        folder = self.settings.raw_dir / self.contract.name / table / f"source={source}"
        return sorted(path.name.removeprefix("event_date=") for path in folder.glob("event_date=*"))


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def event_lines(days: list[str], first: int = 1) -> bytes:
    """One event a day, numbered from `first`."""
    return b"".join(f"{first + i},note {i},{day} 10:00:00,,1.5\n".encode() for i, day in enumerate(days))


def oulad_files(*, uci: bool = False) -> dict[str, bytes]:
    """A small data set in OULAD's layout: CRLF, all quoted and empty for missing, or (UCI) LF and question marks."""
    tables = {
        "courses": [["code_module", "code_presentation", "module_presentation_length"], ["AAA", "2013J", "268"]],
        "assessments": [
            ["code_module", "code_presentation", "id_assessment", "assessment_type", "date", "weight"],
            ["AAA", "2013J", "1752", "TMA", "19", "10"],
            ["AAA", "2013J", "1757", "Exam", "", "100"],
        ],
        "vle": [
            ["id_site", "code_module", "code_presentation", "activity_type", "week_from", "week_to"],
            ["546943", "AAA", "2013J", "resource", "", ""],
        ],
        "studentInfo": [
            [
                *("code_module", "code_presentation", "id_student", "gender", "region", "highest_education"),
                *("imd_band", "age_band", "num_of_prev_attempts", "studied_credits", "disability", "final_result"),
            ],
            ["AAA", "2013J", "11391", "M", "Wales", "HE Qualification", "", "55<=", "0", "240", "N", "Pass"],
        ],
        "studentRegistration": [
            ["code_module", "code_presentation", "id_student", "date_registration", "date_unregistration"],
            ["AAA", "2013J", "11391", "-159", ""],
        ],
        "studentAssessment": [
            ["id_assessment", "id_student", "date_submitted", "is_banked", "score"],
            ["1752", "11391", "18", "0", "78"],
            ["1757", "11391", "200", "0", ""],
        ],
        "studentVle": [
            ["code_module", "code_presentation", "id_student", "id_site", "date", "sum_click"],
            ["AAA", "2013J", "11391", "546943", "-10", "4"],
            ["AAA", "2013J", "11391", "546943", "-10", "4"],
            ["AAA", "2013J", "11391", "546943", "31", "2"],
        ],
    }
    files = {}
    for table, rows in tables.items():
        if uci:
            lines = [rows[0]] + [[value or "?" for value in row] for row in rows[1:]]
            text = "".join(",".join(row) + "\n" for row in lines)
        else:
            text = "".join(",".join(f'"{value}"' for value in row) + "\r\n" for row in rows)
        files[f"{table}.csv"] = text.encode()
    return files
