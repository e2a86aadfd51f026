"""Whom to call, a page a program: lists of single learners that somebody works from, and what changed since the last.

Written for the publication under pseudonyms, and by `make call-list` with names, into a folder of their own. A list
sorts, filters, notes contacts and gives them back as a file of the table `interventions`, all in the browser.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from dagster_project.base.files import replaced
from dagster_project.report.outbox import CALL_LIST, Alert, keep, writing_alerts
from dagster_project.report.page import TEMPLATES, About, is_missing, percent, records, render
from dagster_project.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from dagster_project.store.warehouse import Warehouse

LIST = "learners.call_list"
CHANGES = "learners.call_list_changes"
READS = (LIST, CHANGES)
CHANGES_FOLDER = "changes"
KINDS_OF_CHANGES = ("newly_at_risk", "newly_silent", "no_longer_listed")
DAYS_KEPT = 31
"""Files of changes that are kept, one a day."""
PLACES = (1, 2, 3)
ABOUT = {
    "failed_or_withdrawn": "may fail or leave",
    "not_retained": "may not come back",
}
CHANNELS = ("phone", "email", "chat", "meeting", "other")
TOPICS = ("activity", "assignments", "grades", "plans", "technical", "other")
ROLES = ("advisor", "coach", "instructor", "tutor")
CONTACT_COLUMNS = (
    "intervention_id",
    "learner_id",
    "program_id",
    "course_id",
    "channel",
    "topic",
    "contacted_by",
    "contacted_at",
    "recorded_at",
)
"""Those of `interventions` in the contract `campus`, in its order."""
MEASURES = {
    "active_days": "Days with activity since the start",
    "active_days_rank_share": "Days with activity, rank among peers",
    "assignment_click_count": "Clicks on assignments",
    "before_start_click_count": "Clicks before the start",
    "click_count": "Clicks since the start",
    "click_rank_share": "Clicks, rank among peers",
    "course_count": "Courses taken",
    "discussion_click_count": "Clicks in discussions",
    "earned_rank_share": "Points so far, rank among peers",
    "earned_share": "Points so far, of all that there are",
    "failed_course_count": "Courses failed",
    "first_activity_day": "Day of the first activity, from the start",
    "last_four_weeks_active_days": "Days with activity in four weeks",
    "last_four_weeks_click_count": "Clicks in four weeks",
    "last_score_share": "Last score",
    "last_week_active_days": "Days with activity in the last week",
    "last_week_click_count": "Clicks in the last week",
    "late_item_count": "Assignments handed in late",
    "later_term_course_count": "Courses taken after the first term",
    "left_course_count": "Courses left",
    "lowest_last_score_share": "Lowest of the last scores",
    "mean_score_share": "Mean score",
    "mean_submission_lead_days": "Days handed in before the deadline",
    "missing_item_count": "Assignments missing",
    "navigation_click_count": "Clicks to find the way",
    "next_year_course_count": "Courses of the next year taken so far",
    "on_time_share": "Handed in on time",
    "other_click_count": "Clicks on other pages",
    "passed_course_count": "Courses passed",
    "practice_click_count": "Clicks on practice",
    "quiz_click_count": "Clicks on quizzes",
    "reading_click_count": "Clicks on readings",
    "registered_ahead_course_count": "Courses registered for that begin later",
    "scored_item_count": "Assignments graded",
    "since_last_activity_days": "Days since the last activity",
    "since_last_submission_days": "Days since the last hand-in",
    "submitted_item_count": "Assignments handed in",
    "submitted_per_due_ratio": "Assignments handed in per one due",
    "submitted_share": "Due assignments handed in",
    "support_ticket_count": "Support tickets",
    "team_click_count": "Clicks in team work",
    "term_course_count": "Courses in the running term",
    "video_click_count": "Clicks on videos",
    "weighted_score_share": "Score, by weight",
    "without_course_weeks": "Weeks without a course",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a cell."""


@dataclass(frozen=True)
class Person:
    """Who a learner is, for a page with names.

    Attributes:
        pseudonym: the inner one, by which a contact is noted.
        details: what the identity store holds of them by column; the first is their name.
    """

    pseudonym: str
    details: Mapping[str, str]


def write_pages(warehouse: Warehouse, about: About, settings: Settings) -> Path:
    """Write the lists without names, and what changed on the day of the last scoring; returns their index.

    Where learners are published under other pseudonyms, no contact can be noted there: nothing leads back from them.
    """
    rows, changes = (warehouse.read(name) for name in READS)
    folder = settings.call_lists_dir
    folder.mkdir(parents=True, exist_ok=True)
    people = None if settings.publication_key else _pseudonyms(rows)
    pages = make_pages(rows, about, people=people, reports="../reports/")
    for left in {file.name for file in folder.glob("*.html")} - pages.keys():
        (folder / left).unlink()
    for name, html in pages.items():
        with replaced(folder / name) as incoming:
            incoming.write_text(html)
    _write_changes(folder / CHANGES_FOLDER, rows, changes)
    return folder / "index.html"


def _pseudonyms(rows: pd.DataFrame) -> dict[str, Person]:
    return {key: Person(key.partition(":")[2], {}) for key in rows["learner_key"]}


def make_pages(
    rows: pd.DataFrame,
    about: About,
    *,
    people: Mapping[str, Person] | None,
    has_names: bool = False,
    reports: str = "",
) -> dict[str, str]:
    """The page of each program by the name of its file, and `index.html`, which leads to them.

    Args:
        rows: of `learners.call_list`.
        people: by `learner_key`; None: no contact can be noted.
        has_names: whether the details of people are shown, and asked for where there are none.
        reports: where the pages of the same publication lie, as seen from these.
    """
    pages: dict[str, str] = {}
    index: list[dict] = []
    groups: Any = {} if rows.empty else rows.groupby(["source", "program_key"], dropna=False, sort=True)
    for (source, program_key), group in groups:
        program = None if is_missing(program_key) else program_key
        title = group["program_name"].dropna().iloc[:1].tolist() or [program or "Courses of no program"]
        name = f"{_slug(program or f'{source} courses-of-no-program')}.html"
        if name in pages:
            name = f"{_slug(str(program))}-{hashlib.sha256(str(program).encode()).hexdigest()[:8]}.html"
        listed = [_row(row, people, has_names) for row in records(group)]
        # Two outcomes have an order each, of which this is the common one.
        listed.sort(
            key=lambda one: (one["is_contacted"], one["band"] != "high", -one["probability"], one["enrollment"])
        )
        for place, one in enumerate(listed, start=1):
            one["place"] = place
        own = replace(about, sources=[x for x in about.sources if x.name == source])
        pages[name] = render(
            "call_list.html",
            own,
            title=title[0],
            source=source,
            rows=listed,
            counts=_counts(listed),
            outcomes={one["outcome"]: ABOUT.get(one["outcome"], one["outcome"]) for one in listed},
            reason_choices=[(x, x) for x in sorted({why["title"] for one in listed for why in one["reasons"]})],
            known_until=max(one["known_until"] for one in listed),
            has_names=has_names,
            can_note=people is not None,
            channels=CHANNELS,
            topics=TOPICS,
            roles=ROLES,
            reports=reports,
            data=_as_data([_spoken(one) for one in listed], source=source, page=name.removesuffix(".html")),
            **_script(),
        )
        index.append({"file": name, "title": title[0], "source": source, "counts": _counts(listed)})
    pages["index.html"] = render(
        "call_lists_index.html",
        about,
        pages=sorted(index, key=lambda x: (x["source"], x["title"])),
        has_names=has_names,
    )
    return pages


def _slug(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", key).strip(".-") or "program"


def _counts(rows: list[dict]) -> dict[str, int]:
    return {
        "all": len(rows),
        "high": sum(row["band"] == "high" for row in rows),
        "new": sum(row["is_new"] for row in rows),
        "silent": sum(row["is_silent"] for row in rows),
        "contacted": sum(row["is_contacted"] for row in rows),
    }


def _row(row: dict[str, Any], people: Mapping[str, Person] | None, has_names: bool) -> dict[str, Any]:
    """What the page tells of one learner in one course or program."""
    import pandas as pd

    person = (people or {}).get(row["learner_key"])
    details = dict(person.details) if person and has_names else {}
    reasons = [
        {
            "title": row[f"reason_{place}"],
            "measure": MEASURES.get(row[f"measure_{place}"], str(row[f"measure_{place}"]).replace("_", " ")),
            "value": _value(row[f"measure_{place}"], row[f"learner_value_{place}"]),
            "peers": _value(row[f"measure_{place}"], row[f"peers_median_{place}"]),
        }
        for place in PLACES
        if not is_missing(row[f"reason_{place}"])
    ]
    contacted = None if is_missing(row["last_contacted_on"]) else pd.Timestamp(row["last_contacted_on"])
    change = row["probability_change"]
    return {
        "key": row["learner_key"],
        "enrollment": row["enrollment_key"],
        "learner_id": person.pseudonym if person else None,
        "program_id": _id_of(row["program_key"]),
        "course_id": _id_of(row["course_key"]),
        "name": next(iter(details.values()), None) or ("(no name known)" if has_names else None),
        "details": {name.replace("_", " "): value for name, value in list(details.items())[1:]},
        "outcome": row["outcome"],
        "about": ABOUT.get(row["outcome"], str(row["outcome"]).replace("_", " ")),
        "course": None if is_missing(row["course_name"]) else row["course_name"],
        "week": int(row["week_number"]),
        "band": row["band"],
        "probability": float(row["probability"]),
        "low": float(row["probability_low"]),
        "high": float(row["probability_high"]),
        "change": None if is_missing(change) else float(change),
        "since": pd.Timestamp(row["listed_since_on"]),
        "known_until": pd.Timestamp(row["as_of_on"]) - pd.Timedelta(days=1),
        "is_new": bool(row["is_newly_at_risk"]),
        "is_silent": bool(row["is_newly_silent"]),
        "contacted": contacted,
        "channel": None if is_missing(row["last_contact_channel"]) else row["last_contact_channel"],
        "topic": None if is_missing(row["last_contact_topic"]) else row["last_contact_topic"],
        "is_contacted": bool(row["is_contacted_recently"]),
        "reasons": reasons,
        "action": None if is_missing(row["suggested_action"]) else row["suggested_action"],
        "words": None if is_missing(row["suggested_words"]) else row["suggested_words"],
    }


def _value(measure: str, value: float | None) -> str:
    """A value of a feature as people read it: a share in percent, anything else as a short number."""
    if value is None or is_missing(value):
        return "none yet"
    if str(measure).endswith("_share"):
        return percent(value)
    return f"{value:,.1f}".removesuffix(".0")


def _id_of(key: str | None) -> str:
    """The source's id in a key (macro entity_key); empty: there is no key."""
    if key is None or is_missing(key):
        return ""
    return key.partition(":")[2].replace("%3A", ":").replace("%25", "%")


def _spoken(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the script has it: what it sorts and filters by, notes contacts with and writes to a file."""
    told: dict[str, Any] = {"Order": row["place"]}
    if row["name"] is not None:
        told |= {"Name": row["name"]} | {name.capitalize(): value for name, value in row["details"].items()}
    told |= {
        "Learner": row["key"],
        "About": row["about"],
        "Course": row["course"] or "",
        "Risk": row["band"],
        "Probability": percent(min(row["probability"], 0.99)),
        "On the list since": f"{row['since']:%Y-%m-%d}",
        "Newly at risk": "yes" if row["is_new"] else "no",
        "Newly silent": "yes" if row["is_silent"] else "no",
        "Last contact": "" if row["contacted"] is None else f"{row['contacted']:%Y-%m-%d}",
        "Channel": row["channel"] or "",
        "Topic": row["topic"] or "",
    }
    for place, why in zip(PLACES, [*row["reasons"], {}, {}, {}], strict=False):
        told |= {
            f"Reason {place}": why.get("title", ""),
            f"Measure {place}": why.get("measure", ""),
            f"Learner's value {place}": why.get("value", ""),
            f"Peers' median {place}": why.get("peers", ""),
        }
    told |= {"What to do": row["action"] or "", "Words to begin with": row["words"] or ""}
    return {
        "told": told,
        "enrollment": row["enrollment"],
        "learner_id": row["learner_id"] and f"pseudonym:{row['learner_id']}",
        "program_id": row["program_id"],
        "course_id": row["course_id"],
        "outcome": row["outcome"],
        "band": row["band"],
        "reasons": [why["title"] for why in row["reasons"]],
        "isNew": row["is_new"],
        "isSilent": row["is_silent"],
        "isContacted": row["is_contacted"],
        "sort": {
            "place": row["place"],
            "learner": (row["name"] or row["key"]).lower(),
            "about": f"{row['course'] or ''} {row['about']}".lower(),
            "risk": row["probability"],
            "since": f"{row['since']:%Y-%m-%d}",
            "reason": row["reasons"][0]["title"] if row["reasons"] else "",
            "news": row["is_new"] * 4 + row["is_silent"] * 2 + max(-1.0, min(row["change"] or 0.0, 1.0)),
            "contact": "" if row["contacted"] is None else f"{row['contacted']:%Y-%m-%d}",
        },
    }


def _as_data(rows: list[dict], *, source: str, page: str) -> Markup:
    """Rows as JSON within a page: no text of theirs can end the element."""
    data = {"source": source, "page": page, "columns": CONTACT_COLUMNS, "formula": FORMULA, "rows": rows}
    text = json.dumps(data, ensure_ascii=False).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(text)  # noqa: S704 - what HTML would read is escaped above


@cache
def _script() -> dict[str, Markup]:
    """The script of a page, and by its hash the one permission to run one: another is not run, nothing is fetched."""
    text = (TEMPLATES / "call_list.js").read_text()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    return {"script": Markup(text), "policy": Markup(policy)}  # noqa: S704 - a file of this project


# --- what changed


def _write_changes(folder: Path, listed: pd.DataFrame, changes: pd.DataFrame) -> None:
    """A file of every day of a last scoring, none where nothing has changed; days beyond `DAYS_KEPT` go."""
    import pandas as pd

    folder.mkdir(exist_ok=True)
    scored = pd.concat([listed[["source", "scored_on"]], changes[["source", "scored_on"]]]).drop_duplicates()
    for day, sources in scored.groupby("scored_on")["source"]:
        file = folder / f"{day:%Y-%m-%d}.csv"
        # A source that was scored later has rows of this day too, which are history by now.
        rows = [row for row in _rows_of(file) if row[0] not in set(sources)]
        today = changes[(changes["scored_on"] == day)].sort_values(["source", "outcome", "change", "enrollment_key"])
        rows += [[_cell(value) for value in row] for row in today.itertuples(index=False)]
        if not rows:
            file.unlink(missing_ok=True)
            continue
        with replaced(file) as incoming, incoming.open("w", newline="") as text:
            csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([[*changes.columns], *rows])
    for file in sorted(folder.glob("*.csv"), reverse=True)[DAYS_KEPT:]:
        file.unlink()


def _rows_of(file: Path) -> list[list[str]]:
    """Rows of a file of changes, without those of learners whom an erasure has masked."""
    if not file.exists():
        return []
    with file.open(newline="") as text:
        return [row for row in list(csv.reader(text))[1:] if row and not any("*" in value for value in row[3:5])]


def _cell(value: Any) -> str:
    """A value of a file that spreadsheets open: none is a formula."""
    if is_missing(value):
        return ""
    text = f"{value:%Y-%m-%d}" if hasattr(value, "strftime") else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def keep_word_of_changes(warehouse: Warehouse, settings: Settings) -> None:
    """Put word of what the last scoring changed into the outbox, once, for the addresses of `call_list_webhook`.

    Call it after a publication, which has the file that it names. It holds counts by program, and no key of a learner.

    Raises:
        OSError: the disk is full or the folder is closed.
    """
    if not settings.call_list_webhook or CHANGES not in warehouse.columns():
        return
    changes = warehouse.read(CHANGES)
    changes = changes[changes["scored_on"] == changes["scored_on"].max()]
    if changes.empty:
        return
    lines = sorted("|".join(map(str, row)) for row in changes.drop(columns="earlier_scored_on").itertuples(index=False))
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
    told = settings.call_lists_dir / "told.txt"
    if told.exists() and told.read_text() == digest:
        return
    day = f"{changes['scored_on'].iloc[0]:%Y-%m-%d}"
    subject = f"learning-warehouse: the call list of {day}: {_in_words(changes)}"
    programs = changes["program_name"].fillna(changes["program_key"]).fillna("courses of no program")
    text = [
        f"{source}, {program}: {_in_words(rows)}"
        for (source, program), rows in changes.groupby([changes["source"], programs], sort=True)
    ]
    text += [
        f"Whom, under pseudonyms: {settings.published_dir / 'call_lists' / CHANGES_FOLDER / f'{day}.csv'}",
        "With names, on the machine of the warehouse: make call-list",
    ]
    with writing_alerts(settings):
        keep(settings, Alert(f"{digest}-call-list", subject, "\n".join(text), setting=CALL_LIST))
    told.parent.mkdir(parents=True, exist_ok=True)
    with replaced(told, synced=True) as incoming:
        incoming.write_text(digest)


def _in_words(changes: pd.DataFrame) -> str:
    counts = changes["change"].value_counts()
    return ", ".join(f"{counts[kind]:,} {kind.replace('_', ' ')}" for kind in KINDS_OF_CHANGES if kind in counts)
