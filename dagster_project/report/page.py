"""The frame of a page that opens anywhere: one HTML document without scripts, fonts or images from elsewhere.

Call lists have a script of their own within them; no other page has any. What a page says stands in
`templates/<name>.html`, which extends `base.html`; a module gathers what it says it of. All that a template is given is
text and is escaped, but for drawings that a module has marked as safe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dagster_project.settings import Settings
from dagster_project.store.publish import SNAPSHOT_MARK

TEMPLATES = Path(__file__).with_name("templates")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class SourceState(Protocol):
    """What a reader must know of a source before they believe a figure; `ingest.source_state` finds it out."""

    @property
    def name(self) -> str:
        """The source's own name."""
        ...

    @property
    def contract(self) -> str:
        """Name of the contract that it delivers by."""
        ...

    @property
    def last_data_on(self) -> date | None:
        """Newest day of which there are data; None: the source has no dated events."""
        ...

    @property
    def is_simulated(self) -> bool:
        """Whether files of the simulated university are loaded."""
        ...

    @property
    def why_stale(self) -> str:
        """What is older than the contract permits, as a sentence without a full stop; empty: nothing is."""
        ...


@dataclass(frozen=True)
class About:
    """What every page tells of itself: the state of the sources, and the smallest group whose figures are shown."""

    sources: Sequence[SourceState] = ()
    minimum_group_size: int = Settings.model_fields["minimum_group_size"].default
    computed_on: date | None = None

    @classmethod
    def of(cls, sources: Sequence[SourceState], settings: Settings, computed_on: date | None = None) -> About:
        """These sources under these settings; `computed_on`: the day of the oldest figures of the page."""
        return cls(sources, settings.minimum_group_size, computed_on)

    @property
    def snapshot(self) -> Markup:
        """What a publication replaces by the snapshot's id (`store.publish`): no text of a source looks like it."""
        return Markup(SNAPSHOT_MARK)  # noqa: S704 - a constant

    def of_table(self, table_name: str) -> About:
        """The same for a table ("schema.table"): of a raw one, only the sources of its contract fill it."""
        schema = table_name.partition(".")[0]
        if not schema.startswith("raw_"):
            return self
        return replace(self, sources=[x for x in self.sources if f"raw_{x.contract}" == schema])


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
        "short_day": lambda day: f"{day.day} {day:%b %Y}",
        "decimals": decimals,
        "in_words": lambda number: NUMBERS[number] if number < len(NUMBERS) else f"{number:,}",
        "percent": percent,
        "whole": lambda number: "–" if is_missing(number) else f"{number:,.0f}",
        "words": lambda name: {"True": "yes", "False": "no"}.get(str(name), str(name).replace("_", " ")),
    }
    environment.tests["missing"] = is_missing
    environment.tests["mailable"] = lambda value: re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", str(value)) is not None
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


def records(frame: Any) -> list[dict[str, Any]]:
    """Rows of a frame, as templates read them."""
    return frame.to_dict("records")
