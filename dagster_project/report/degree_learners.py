"""Who studies for a degree and for how long: ages, terms active, and who is still there a year on, by program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_project.report.page import About, is_missing, percent, records, render

if TYPE_CHECKING:
    import pandas as pd

    from dagster_project.store.warehouse import Warehouse

READS = ("reporting.degree_learner_ages", "reporting.terms_active", "reporting.program_retention")
COLORS = ("#0b6e63", "#d1603d", "#5b4b8a", "#b7791f", "#6b7280")
# Of a drawing, in its own units.
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 250, 52, 34, 14


def make_page(warehouse: Warehouse, about: About | None = None) -> str:
    """The page of all sources that have degree programs."""
    ages, terms, retention = (warehouse.read(name) for name in READS)
    sections = [
        {
            "source": source,
            "ages": _ages(ages[ages["source"] == source]),
            "terms": _terms(terms[terms["source"] == source]),
            "programs": _programs(retention[retention["source"] == source], "retained"),
            "without_graduates": _programs(retention[retention["source"] == source], "retained_without_graduates"),
        }
        for source in sorted({*ages["source"], *terms["source"], *retention["source"]})
    ]
    size = {"width": WIDTH, "height": HEIGHT, "left": LEFT}
    return render("degree_learners.html", about or About(), sections=sections, size=size)


def _ages(rows: pd.DataFrame) -> dict | None:
    names = sorted(set(rows["age_band"]), key=lambda band: (band == "not known", not band.startswith("under"), band))
    return _columns(
        {
            str(level).replace("_", " "): dict(zip(part["age_band"], part["learner_share"], strict=True))
            for level, part in rows.groupby("program_level")
        },
        names,
    )


def _terms(rows: pd.DataFrame) -> dict | None:
    is_retained = rows["is_retained"].astype(bool)
    return _columns(
        {
            words: dict(zip(part["active_term_count"].astype(int), part["learner_share"], strict=True))
            for words, part in (("retained", rows[is_retained]), ("not retained", rows[~is_retained]))
            if len(part)
        },
        sorted({int(count) for count in rows["active_term_count"]}),
    )


def _columns(series: dict[str, dict], names: list) -> dict | None:
    """A chart of shares: columns of each series side by side, where a share is not shown none; None: nothing is."""
    told = [share for shares in series.values() for share in shares.values() if not is_missing(share)]
    if not told:
        return None
    top = -(-max(told) // 0.1) * 0.1
    place = (WIDTH - LEFT) / len(names)
    breadth = 0.8 * place / len(series)

    def height(share: float) -> float:
        return share / top * (HEIGHT - TOP - BOTTOM)

    columns = [
        {
            "x": LEFT + number * place + 0.1 * place + at * breadth,
            "y": HEIGHT - BOTTOM - height(shares[name]),
            "width": 0.94 * breadth,
            "height": height(shares[name]),
            "color": COLORS[at % len(COLORS)],
            "words": f"{name}, {words}: {percent(shares[name])}",
        }
        for at, (words, shares) in enumerate(series.items())
        for number, name in enumerate(names)
        if name in shares and not is_missing(shares[name])
    ]
    marks = [
        {"y": HEIGHT - BOTTOM - height(tenth / 10), "words": f"{10 * tenth} %"} for tenth in range(round(top * 10) + 1)
    ]
    labels = [{"x": LEFT + (number + 0.5) * place, "words": name} for number, name in enumerate(names)]
    return {
        "columns": columns,
        "marks": marks,
        "labels": labels,
        "series": [(words, COLORS[at % len(COLORS)]) for at, words in enumerate(series)],
        "spoken": "; ".join(str(column["words"]) for column in columns),
    }


def _programs(rows: pd.DataFrame, outcome: str) -> dict:
    """Programs by years of entry: the share of an outcome, or its bound; a dash where there is none yet.

    `is_told` says whether any share is.
    """
    rows = rows[rows["level"] == "program_year"].sort_values(["program_name", "program_key"])
    years = sorted({int(year) for year in rows["first_year_number"]})
    found: dict[str, dict] = {}
    for row in records(rows):
        program = found.setdefault(row["program_key"], {"name": row["program_name"], "shares": {}})
        told = row[f"{outcome}_share_told"]
        program["shares"][int(row["first_year_number"])] = (
            "–" if is_missing(told) and is_missing(row["withheld_because"]) else "·" if is_missing(told) else told
        )
    return {
        "years": years,
        "heads": ["Program", *(f"#{year}" for year in years)],
        "rows": list(found.values()),
        "is_told": bool(rows[f"{outcome}_share_told"].notna().any()),
    }
