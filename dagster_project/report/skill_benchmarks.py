"""Skill benchmarks: where each organization's people stand in each skill, against whom, and which course would help."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dagster_project.report.page import About, is_missing, records, render

if TYPE_CHECKING:
    import pandas as pd

    from dagster_project.store.warehouse import Warehouse

READS = ("reporting.organization_skills",)
BANDS = (
    ("lagging", 0, 25, "#f3d9cf"),
    ("emerging", 25, 50, "#f6ecd2"),
    ("competitive", 50, 75, "#dcebe0"),
    ("cutting-edge", 75, 100, "#b9dccb"),
)
COLORS = {name: color for name, *_, color in BANDS}
MARKS = {
    "industry": ("#5b4b8a", "its industry"),
    "country": ("#b7791f", "its country"),
    "size_band": ("#6b7280", "its size"),
}
MIDDLE = 50


def make_page(warehouse: Warehouse, about: About | None = None) -> str:
    """The page of all sources; organizations without a figure are counted, not listed."""
    import pandas as pd

    from dagster_project.stats.skills.benchmarks import REFRESHED_AFTER_MEMBERS
    from dagster_project.stats.skills.gap import FEWEST_ADMITTED

    rows = warehouse.read("reporting.organization_skills")
    shown = rows[rows["is_shown"]]
    values = {"organization_count": rows["organization_key"].nunique(), "organizations": []}
    if len(shown):
        placed = shown[(shown["comparison"] == "all") & shown["organization_percentile"].notna()]
        organizations = _organizations(rows, shown)
        values |= {
            "bands": BANDS,
            "marks": MARKS,
            "colors": COLORS,
            "skills": _skills(placed),
            "map_skills": _named_skills(placed),
            "map": _map(placed),
            "organizations": organizations,
            "silent": values["organization_count"] - len(organizations),
            "refreshed_after": REFRESHED_AFTER_MEMBERS,
            "fewest_admitted": FEWEST_ADMITTED,
            "computed_on": pd.to_datetime(shown["computed_on"]).max(),
        }
    return render("skill_benchmarks.html", about or About(), **values)


def _grouped(rows: Iterable[dict], name: str) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found


def _anchor(key: str) -> str:
    return "org-" + "".join(letter if letter.isalnum() else "-" for letter in key)


def _named_skills(placed: pd.DataFrame) -> dict[str, str]:
    """Names of skills by their keys, in the order of the names."""
    skills = placed[["skill_key", "skill_name"]].drop_duplicates().sort_values(["skill_name", "skill_key"])
    return dict(zip(skills["skill_key"], skills["skill_name"], strict=True))


def _skills(placed: pd.DataFrame) -> list[dict]:
    found = []
    for key, name in _named_skills(placed).items():
        rows = placed[placed["skill_key"] == key]
        best = rows.sort_values(["organization_percentile", "organization_name"], ascending=[False, True]).iloc[0]
        found.append(
            {
                "name": name,
                "organizations": len(rows),
                "members": int(rows["member_count"].sum()),
                "best": best["organization_name"],
                "best_place": f"{best['percentile_low']:.0f}–{best['percentile_high']:.0f}",
                "need": int(rows["first_course_name"].notna().sum()),
            }
        )
    return found


def _over_all_skills(placed: pd.DataFrame) -> pd.DataFrame:
    """Mean place of each organization and half the width of its 90 % interval, surer places weighing more."""
    import pandas as pd

    error = (placed["percentile_high"] - placed["percentile_low"]).clip(lower=1) / 2
    weight = 1 / error**2
    sums = pd.DataFrame({"weight": weight, "sum": weight * placed["organization_percentile"]})
    sums = sums.groupby(placed["organization_key"]).sum()
    return pd.DataFrame({"place": sums["sum"] / sums["weight"], "error": sums["weight"] ** -0.5})


def _map(placed: pd.DataFrame) -> list[dict]:
    """Organizations by skills: the place, in the colour of its band where it is clear; the highest mean place first."""
    mean = _over_all_skills(placed)
    of = _grouped(records(placed), "organization_key")
    found = []
    for key in sorted(mean.index, key=lambda k: (-mean["place"][k], k)):
        rows = of[key]
        places = {
            row["skill_key"]: {
                "place": f"{row['organization_percentile']:.0f}",
                "range": f"{row['percentile_low']:.0f} to {row['percentile_high']:.0f}",
                "color": COLORS.get(row["band"], ""),
            }
            for row in rows
        }
        name, over_all = rows[0]["organization_name"], f"{mean['place'][key]:.0f} ± {mean['error'][key]:.0f}"
        found.append({"name": name, "anchor": _anchor(key), "over_all": over_all, "places": places})
    return found


def _organizations(rows: pd.DataFrame, shown: pd.DataFrame) -> list[dict]:
    """Organizations of which something is shown, by name; first and open the one with most strengths and gaps."""
    names = shown[["organization_name", "organization_key"]].drop_duplicates()
    keys = list(names.sort_values(["organization_name", "organization_key"])["organization_key"])
    told = [row for row in records(shown[shown["comparison"] == "all"]) if _is_away_from_middle(row)]
    above = {key: [_is_above(row) for row in of] for key, of in _grouped(told, "organization_key").items()}
    first = max(sorted(above), key=lambda key: min(above[key].count(True), above[key].count(False)), default=keys[0])
    keys.sort(key=lambda key: key != first)
    of = _grouped(records(rows[rows["organization_key"].isin(keys)]), "organization_key")
    return [_organization(of[key]) | {"is_open": key == first} for key in keys]


def _is_away_from_middle(row: dict) -> bool:
    """Whether it is clear on which side of the middle it is."""
    return row["percentile_low"] > MIDDLE or row["percentile_high"] < MIDDLE


def _is_above(row: dict) -> bool:
    return row["organization_percentile"] > MIDDLE


def _organization(rows: list[dict]) -> dict:
    one = rows[0]
    main = sorted((row for row in rows if row["comparison"] == "all"), key=_from_highest)
    told = [row for row in main if _is_away_from_middle(row)]
    strong, weak = [row for row in told if _is_above(row)], [row for row in told if not _is_above(row)]
    words = [
        f"{what}: {part[place]['skill_name']} ({ordinal(part[place]['organization_percentile'])})"
        for what, part, place in (("strongest", strong, 0), ("most to gain", weak, -1))
        if part
    ]
    shown = [row for row in main if row["is_shown"]]
    words.append(f"{len(shown)} skill{'s' if len(shown) > 1 else ''} shown")
    size = "" if is_missing(one["size_band"]) else f"{one['size_band']} employees"
    placed = (row for row in rows if row["comparison"] in MARKS and not is_missing(row["organization_percentile"]))
    compared = _grouped(placed, "skill_key")
    about = [str(value) for value in (one["industry"], one["country"], size) if not is_missing(value) and value]
    return {
        "name": one["organization_name"],
        "anchor": _anchor(one["organization_key"]),
        "about": ", ".join(about).replace("_", " "),
        "told": " · ".join(words),
        "skills": [_skill(row, compared.get(row["skill_key"], [])) for row in shown],
        "hidden": len(main) - len(shown),
    }


def _from_highest(row: dict) -> tuple[bool, float, str]:
    """Orders by place, the highest first, those without one last."""
    place = row["organization_percentile"]
    return (True, 0, row["skill_name"]) if is_missing(place) else (False, -place, row["skill_name"])


def _skill(row: dict, others: list[dict]) -> dict:
    courses = [row[f"{place}_course_name"] for place in ("first", "second", "third")]
    bar = None
    if not is_missing(row["organization_percentile"]):
        marks = [(*MARKS[other["comparison"]], other["organization_percentile"]) for other in others]
        spoken = f"{ordinal(row['organization_percentile'])} percentile among all, between "
        spoken += f"{row['percentile_low']:.0f} and {row['percentile_high']:.0f}"
        bar = {
            "place": row["organization_percentile"],
            "low": row["percentile_low"],
            "high": row["percentile_high"],
            "marks": [(color, place) for color, _, place in marks],
            "spoken": "; ".join([spoken, *(f"{ordinal(place)} in {words}" for _, words, place in marks)]),
        }
    return {
        "name": row["skill_name"],
        "bar": bar,
        "withheld_reason": row["withheld_reason"],
        "band": None if is_missing(row["band"]) else row["band"],
        "is_clear": row["band"] in COLORS,
        "members": int(row["member_count"]),
        "courses": [course for course in courses if isinstance(course, str)],
        "is_above": not is_missing(row["members_percentile"]) and row["members_percentile"] >= MIDDLE,
    }


def ordinal(percentile: float) -> str:
    """A percentile in words: 1st, 22nd, 90th."""
    n = round(percentile)
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
