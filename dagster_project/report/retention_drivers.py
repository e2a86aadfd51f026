"""What goes with staying in a degree: drivers with intervals, doubts and all, for a reader at a university."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_project.report import driver_figures as figures
from dagster_project.report.driver_figures import contrast_words, interval_words, levels_words, percent_words
from dagster_project.report.page import About, is_missing, records, render

if TYPE_CHECKING:
    import pandas as pd

    from dagster_project.store.warehouse import Warehouse

READS = (
    "reporting.driver_effects",
    "analytics.driver_effects",
    "analytics.driver_specifications",
    "analytics.driver_dose_response",
    "analytics.driver_placebos",
)
STRONGEST = 6  # drivers told at the top
KINDS_OF_PLACEBOS = ("program", "design", "course", "own")


def make_page(warehouse: Warehouse, about: About | None = None) -> str:
    """The page, from the tables of `READS`."""
    worded = warehouse.read("reporting.driver_effects", where="program_key is null")
    full = warehouse.read("analytics.driver_effects", where="program_key is null")
    more = [name for name in full.columns if name not in worded.columns or name in ("source", "driver_id")]
    effects = worded.merge(full[more], on=["source", "driver_id"]).sort_values(["source", "position"])
    numbers = effects.select_dtypes("number").columns
    effects[numbers] = effects[numbers].astype("float64")
    others = {name.split("_", 1)[1]: warehouse.read(name) for name in READS[2:]}
    sections, silent = [], []
    for source, rows in effects.groupby("source"):
        if (rows["status"] == "estimated").any():
            sections.append(_section(str(source), rows, {name: x[x["source"] == source] for name, x in others.items()}))
        else:
            silent.append({"source": source, "reason": rows["reason"].iloc[0]})
    return render("retention_drivers.html", about or About(), sections=sections, silent=silent)


def _section(source: str, rows: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> dict:
    estimated = rows[rows["status"] == "estimated"]
    titles = dict(zip(estimated["driver_id"], estimated["title"], strict=True))
    units = dict(zip(estimated["driver_id"], estimated["unit"], strict=True))
    shown = estimated[estimated["finding"] == "shown"]
    strongest = shown.reindex(shown["percent"].abs().sort_values(ascending=False).index).head(STRONGEST)
    missing = rows[rows["status"] != "estimated"]
    limits = rows[rows["excluded_beyond_percent"].notna()].sort_values("excluded_beyond_percent")
    hidden = estimated[estimated["finding"].isin(["shown", "hint"])]
    return {
        "source": source,
        "learners": estimated[estimated["level"] == "learner_program"]["row_count"].max(),
        "courses": estimated[estimated["level"] == "learner_course"]["row_count"].max(),
        "base": estimated["outcome_mean"].iloc[0],
        "estimated_count": len(estimated),
        "counts": {word: int((estimated["finding"] == word).sum()) for word in ("shown", "hint", "not shown")},
        "strongest": [_told(row) for row in records(strongest)],
        "example": _example(estimated),
        "figures": [
            {
                "number": number,
                "title": title,
                "image": figures.draw_figure(of_figure, number),
                "sentences": list(of_figure["sentence"]),
            }
            for number, title in figures.FIGURES.items()
            for of_figure in (estimated[estimated["figure"] == number],)
        ],
        "specifications": figures.draw_specifications(tables["specifications"], titles),
        "doses": figures.draw_dose_response(tables["dose_response"], titles, units),
        "hidden": [_told(row) for row in records(hidden.sort_values("robustness_value_of_interval", ascending=False))],
        "placebos": _placebos(tables["placebos"]),
        "different": [_told(row) for row in records(estimated[estimated["is_logit_different"].astype(bool)])],
        **_same_course(estimated),
        "drivers": _by_figure(rows),
        "estimated": [_told(row) for row in records(estimated)],
        "missing": records(missing),
        "limits": records(limits),
    }


def _told(row: dict) -> dict:
    """A driver's row with its figures in words."""
    words = {
        name: "–" if is_missing(row[name]) else percent_words(row[name])
        for name in (
            "percent",
            "percent_with_benchmark_twin",
            "logit_percent",
            "course_term_percent",
            "without_one_program_low_percent",
            "without_one_program_high_percent",
        )
    }
    return row | words | {
        "contrast": contrast_words(row),
        "interval": interval_words(row),
        "levels": levels_words(row),
        "points": percent_words(row["points"]).removesuffix(" %"),
        "is_less": row["percent"] < 0,
        "is_shown": row["finding"] == "shown",
        "p_value": "< .001" if row["romano_wolf_p"] < 0.001 else f"{row['romano_wolf_p']:.3f}".lstrip("0"),
        "printed": row["printed_effect"] if isinstance(row["printed_effect"], str) else "–",
        "controls": row["selected_controls"] if isinstance(row["selected_controls"], str) else "",
    }  # fmt: skip


def _example(estimated: pd.DataFrame) -> dict:
    """The strongest driver of those that are shown, if any is, and how sure figures are."""
    shown = estimated[estimated["finding"] == "shown"]
    row = estimated.loc[(shown if len(shown) else estimated)["percent"].abs().idxmax()]
    rare = estimated[(estimated["unit"] == "yes_no") & (estimated["level"] == "learner_program")]
    judged = rare if len(rare) else estimated
    return _told(row.to_dict()) | {
        "size": abs(row["percent"]),
        "width": 2 * judged["percent_std_error"].median(),
    }


def _placebos(placebos: pd.DataFrame) -> list[dict]:
    drawn = placebos[placebos["placebo"] != "earlier outcome"]
    found = []
    for kind in KINDS_OF_PLACEBOS:
        part = drawn[drawn["kind"] == kind]
        if len(part):
            draws = int(part["draw_count"].sum())
            found.append({"kind": kind, "draws": draws, "share": part["rejected_count"].sum() / draws})
    return found


def _same_course(estimated: pd.DataFrame) -> dict:
    """Figures within a course and term: how many there are, how many lie in the published interval."""
    own = estimated[estimated["course_term_percent"].notna()]
    inside = (own["course_term_percent"] >= own["percent_low"]) & (own["course_term_percent"] <= own["percent_high"])
    return {"same_course_count": len(own), "same_course_inside": int(inside.sum())}


def _by_figure(rows: pd.DataFrame) -> list[dict]:
    """All drivers in their order, a heading wherever another figure of the report begins."""
    found: list[dict] = []
    for row in records(rows):
        if not found or found[-1]["figure"] != row["figure"]:
            found.append({"figure": row["figure"], "title": figures.FIGURES[int(row["figure"])], "rows": []})
        found[-1]["rows"].append(_told(row) if row["status"] == "estimated" else row)
    return found
