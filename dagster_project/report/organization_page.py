"""One organization's own page: where its people stand against every comparison group, what would help. Names no other.

It goes with the organization's own file (`make publish-for`), and is made of the rows in it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dagster_project.report.page import About, is_missing, records, render
from dagster_project.report.skill_benchmarks import BANDS, COLORS, MIDDLE, ordinal
from dagster_project.stats.skills.benchmarks import COMPARISONS, TRAITS

if TYPE_CHECKING:
    import pandas as pd

OWN = {"industry": "industry", "country": "country", "size_band": "size"}


class Tables(Protocol):
    """The tables of the organization's file."""

    def read(self, table: str) -> pd.DataFrame:
        """A table ("schema.table") in memory."""
        ...


def make_page(tables: Tables, about: About | None = None) -> str:
    """The page of the one organization of which `tables` has rows.

    Raises:
        ValueError: there are rows of several.
    """
    from dagster_project.stats.item_response.organizations import FEWEST_ORGANIZATIONS
    from dagster_project.stats.skills.benchmarks import REFRESHED_AFTER_MEMBERS

    organizations = tables.read("core.dim_organization")
    rows = tables.read("reporting.organization_skills")
    if len(keys := {*organizations["organization_key"], *rows["organization_key"]}) != 1:
        raise ValueError(f"{len(keys)} organizations have rows; expected those of the one that the page is for")
    gaps = tables.read("analytics.skill_gaps").merge(
        tables.read("core.dim_course")[["course_key", "course_name"]], on="course_key", how="left"
    )
    courses = {key: records(of.sort_values("rank")) for key, of in gaps.groupby("skill_key")}
    skills = [_skill(records(of), courses.get(key, [])) for key, of in rows.groupby("skill_key")]
    shown = sorted((skill for skill in skills if skill["is_shown"]), key=_from_highest)
    one = organizations.to_dict("records")[0]
    return render(
        "organization_page.html",
        about or About(),
        name=one["organization_name"],
        described=", ".join(_words(trait, one[trait]) for trait in TRAITS if not is_missing(one[trait])),
        bands=BANDS,
        skills=shown,
        groups=[_group_name(comparison) for comparison in COMPARISONS],
        hidden=sorted((skill["name"], skill["reason"]) for skill in skills if not skill["is_shown"]),
        fewest_organizations=FEWEST_ORGANIZATIONS,
        refreshed_after=REFRESHED_AFTER_MEMBERS,
    )


def _words(trait: str, value: str) -> str:
    return f"{value} employees" if trait == "size_band" else str(value).replace("_", " ")


def _group_name(comparison: str) -> str:
    """Whom an organization is compared with, in words."""
    names = [OWN[trait] for trait in COMPARISONS[comparison]]
    return " × ".join(names).capitalize() if names else "All"


def _from_highest(skill: dict) -> tuple[bool, float, str]:
    """Orders by place, the highest first, those without one last."""
    place = skill["groups"][0]["place"]
    return (True, 0.0, skill["name"]) if place is None else (False, -place, skill["name"])


def _skill(rows: list[dict], courses: list[dict]) -> dict:
    of = {row["comparison"]: row for row in rows}
    first = of["all"]
    groups = [_group(comparison, of.get(comparison)) for comparison in COMPARISONS]
    return {
        "name": first["skill_name"],
        "is_shown": bool(first["is_shown"]),
        "reason": first["withheld_reason"],
        "members": None if is_missing(first["member_count"]) else int(first["member_count"]),
        "gain": _gain(first),
        "groups": groups,
        "bar": _bar(groups[0]),
        "courses": [course for course in courses if not is_missing(course["course_name"])],
        "no_course": next((row["reason"] for row in courses if not is_missing(row["reason"])), None),
    }


def _gain(row: dict) -> dict | None:
    """What members gained in a year, with its interval; None: too few answered both before and in it."""
    if is_missing(row.get("year_gain")):
        return None
    return {
        "value": row["year_gain"],
        "low": row["year_gain_low"],
        "high": row["year_gain_high"],
        "members": int(row["year_gain_member_count"]),
    }


def _group(comparison: str, row: dict | None) -> dict:
    """One comparison: its place and interval, or why there is none."""
    name = _group_name(comparison)
    if row is None:
        return dict.fromkeys(("place", "label", "others", "band")) | {"name": name, "reason": "not computed yet"}
    values = ((trait, row[f"compared_{trait}"]) for trait in COMPARISONS[comparison])
    label = ", ".join(_words(trait, value) for trait, value in values if not is_missing(value))
    group = {
        "name": name,
        "label": label,
        "others": None,
        "place": None,
        "band": None,
        "reason": row["withheld_reason"],
    }
    if not is_missing(row["organization_count"]):
        group["others"] = int(row["organization_count"])
    if is_missing(row["organization_percentile"]):
        return group
    return group | {
        "place": row["organization_percentile"],
        "low": row["percentile_low"],
        "high": row["percentile_high"],
        "members": row["members_percentile"],
        "band": row["band"],
        "color": COLORS.get(row["band"], ""),
        "is_above": row["organization_percentile"] > MIDDLE,
    }


def _bar(group: dict) -> dict | None:
    if group["place"] is None:
        return None
    spoken = f"{ordinal(group['place'])} percentile among all, between {group['low']:.0f} and {group['high']:.0f}"
    return {name: group[name] for name in ("place", "low", "high")} | {"marks": [], "spoken": spoken}
