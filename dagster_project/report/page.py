"""The frame of a page that opens anywhere: one HTML document without scripts, fonts or images from elsewhere.

What a page says stands in `templates/<name>.html`, which extends `base.html`; a module gathers what it says it of. All
that a template is given is text and is escaped, but for drawings that a module has marked as safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dagster_project.settings import Settings

TEMPLATES = Path(__file__).with_name("templates")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class About:
    """What every page may tell of itself: the smallest group whose figures are shown."""

    minimum_group_size: int = Settings.model_fields["minimum_group_size"].default


def render(template: str, about: About, **values: Any) -> str:
    """A page from a template of `templates/`.

    Raises:
        jinja2.UndefinedError: the template names a value that it was not given.
    """
    return _environment().get_template(template).render(about=about, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "day": lambda day: f"{day.day} {day:%B %Y}",
        "decimals": decimals,
        "in_words": lambda number: NUMBERS[number] if number < len(NUMBERS) else f"{number:,}",
        "percent": percent,
        "whole": lambda number: "–" if is_missing(number) else f"{number:,.0f}",
        "words": lambda name: {"True": "yes", "False": "no"}.get(str(name), str(name).replace("_", " ")),
    }
    environment.tests["missing"] = is_missing
    return environment


def is_missing(value: object) -> bool:
    """Whether a table has no value there."""
    import pandas as pd

    return bool(pd.isna(value))


def decimals(value: float, digits: int) -> str:
    """A number with so many digits after the point; a dash where there is none."""
    return "–" if is_missing(value) else f"{value:,.{digits}f}"


def percent(share: float, digits: int = 0) -> str:
    """A share of one as a percentage; a dash where there is none."""
    return "–" if is_missing(share) else f"{100 * share:.{digits}f} %"


def records(frame: Any) -> list[Mapping[str, Any]]:
    """Rows of a frame, as templates read them."""
    return frame.to_dict("records")
