"""The retention report's figures 3 to 11 from our results: each effect with its interval and the printed figure."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FIGURES = {
    3: "Open content before the degree",
    4: "Kinds of graded assessment",
    5: "What the grade is made of",
    6: "What ungraded items are made of",
    7: "How the grade is spread over the course",
    8: "How a course is paced",
    9: "Course load and drops",
    10: "How a learner works in the course",
    11: "Up to the first deadline",
}
INK, MUTED, GRID = "#1c2530", "#66727f", "#dde3e8"
OURS, UNSURE, PRINTED = "#0b6e63", "#9aa7b2", "#d1603d"
ROW_INCHES = 0.52


def draw_figure(rows: pd.DataFrame, number: int) -> str | None:
    """One figure of the report.

    Args:
        rows: estimated drivers of the figure, in their order: title, unit, contrast_low, contrast_high, percent,
            percent_low, percent_high, finding, printed_percent_low, printed_percent_high
        number: of the report

    Returns:
        A data URI (SVG); None if no driver of the figure has an estimate.
    """
    if not len(rows):
        return None
    with _figure(8.6, 0.95 + ROW_INCHES * len(rows), f"figure {number}") as (figure, image):
        _forest(figure, rows.reset_index(drop=True))
    return image()


def draw_dose_response(doses: pd.DataFrame, titles: dict[str, str], units: dict[str, str]) -> str | None:
    """Retention by fifths of each driver, with the straight line behind the published figure.

    ``doses`` are rows of analytics.driver_dose_response of one source; ``titles`` and ``units`` are by driver and in
    the order in which to draw.
    """
    names = [name for name in titles if name in set(doses["driver_id"])]
    if not names:
        return None
    columns = 4
    lines = -(-len(names) // columns)
    with _figure(8.6 * 1.25, 2.15 * lines + 0.2, "dose-response") as (figure, image):
        for place, name in enumerate(names):
            rows = doses[(doses["driver_id"] == name) & (doses["status"] == "estimated")]
            axes = figure.add_subplot(lines, columns, place + 1)
            _dose(axes, rows, titles[name], units[name])
        figure.subplots_adjust(left=0.055, right=0.99, top=1 - 0.42 / (2.15 * lines), bottom=0.30 / (2.15 * lines),
                               wspace=0.32, hspace=0.75)  # fmt: skip
    return image()


def _dose(axes: Any, rows: pd.DataFrame, title: str, unit: str) -> None:
    import numpy as np

    scale = 100 if unit in ("share", "centroid") else 1
    x = rows["bin_mean"].to_numpy(np.float64) * scale
    points, low, high = (rows[f"points{end}"].to_numpy(np.float64) for end in ("", "_low", "_high"))
    bent = len(rows) and rows["curvature_p_value"].iloc[0] < 0.05
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.plot(x, rows["linear_points"].to_numpy(np.float64), color=PRINTED, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.vlines(x, low, high, color=OURS, linewidth=2.2, alpha=0.75)
    axes.plot(x, points, "o", color=OURS, markersize=4.5, markeredgecolor="white", markeredgewidth=0.6)
    words = _wrapped(title, 27)
    axes.set_title(words + (" *" if bent else ""), fontsize=8, color=INK, loc="left", pad=4, linespacing=1.05)
    suffix = {"share": " %", "centroid": " %", "percent": " %"}.get(unit, f" {unit}")
    axes.set_xlabel(suffix.strip(), fontsize=7, color=MUTED, labelpad=1)
    _quiet(axes)


def draw_specifications(curve: pd.DataFrame, titles: dict[str, str]) -> str | None:
    """How each figure moves as controls come in: naive, program, student, double lasso, all that are eligible.

    ``curve`` are rows of analytics.driver_specifications of one source; ``titles`` by driver in the order to draw.
    """
    names = [name for name in titles if name in set(curve["driver_id"])]
    if not names:
        return None
    height = 0.9 + 0.27 * len(names)
    marks = {
        "naive": ("no controls", "x", PRINTED, 6),
        "program only": ("program", "|", MUTED, 9),
        "and student": ("program and student", ".", MUTED, 7),
        "double lasso": ("double lasso (published)", "o", OURS, 7),
        "all eligible": ("all eligible controls", "D", INK, 3.6),
    }
    with _figure(8.6, height, "specifications") as (figure, image):
        axes = figure.add_axes((0.40, 0.45 / height, 0.57, (height - 0.85) / height))
        for place, name in enumerate(names):
            rows = curve[curve["driver_id"] == name].set_index("specification")
            y = len(names) - 1 - place
            there = rows.loc[[key for key in marks if key in rows.index], "percent"].dropna()
            if not len(there):
                continue
            axes.plot([there.min(), there.max()], [y, y], color=GRID, linewidth=3, zorder=1, solid_capstyle="round")
            for key, (_, shape, color, size) in marks.items():
                if key in there.index:
                    axes.plot(there[key], y, shape, color=color, markersize=size, zorder=3, markeredgewidth=1.6)
        axes.set_yticks(range(len(names)), [titles[name] for name in reversed(names)], fontsize=8, color=INK)
        axes.set_ylim(-0.7, len(names) - 0.3)
        axes.axvline(0, color=INK, linewidth=0.9, zorder=0)
        _quiet(axes)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(lambda value, _: percent_words(value, 0))
        for words, shape, color, size in marks.values():
            axes.plot([], [], shape, color=color, markersize=size, markeredgewidth=1.6, label=words)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=5, frameon=False, fontsize=7, labelcolor=MUTED,
                    handletextpad=0.1, columnspacing=1.0)  # fmt: skip
    return image()


@contextmanager
def _figure(width: float, height: float, salt: str) -> Generator[tuple[Any, Callable[[], str]]]:
    """An empty figure in inches, and what makes its data URI once drawn. The same drawing gives the same bytes."""
    # Drawn on a canvas of its own: no window, and nothing that another thread could share.
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": salt, "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        yield figure, lambda: "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
        figure.savefig(buffer, format="svg", metadata={"Date": None})


def _quiet(axes: Any) -> None:
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(color=GRID, labelcolor=MUTED, labelsize=7)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)


def _wrapped(words: str, width: int) -> str:
    return "\n".join(textwrap.wrap(words, width))


def _forest(figure: Any, rows: pd.DataFrame) -> None:
    import numpy as np
    import pandas as pd

    height = figure.get_size_inches()[1]
    axes = figure.add_axes((0.425, 0.52 / height, 0.405, (height - 0.80) / height))
    y = np.arange(len(rows))[::-1]
    ends = rows[["percent_low", "percent_high", "printed_percent_low", "printed_percent_high"]].to_numpy(np.float64)
    low, high = min(0.0, np.nanmin(ends)), max(0.0, np.nanmax(ends))
    pad = 0.06 * (high - low)
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
    for place, row in zip(y, rows.to_dict("records"), strict=True):
        color = UNSURE if row["finding"] == "not shown" else OURS
        is_shown = row["finding"] == "shown"
        if pd.notna(row["printed_percent_low"]):
            printed = [row["printed_percent_low"], row["printed_percent_high"]]
            axes.plot(printed, [place + 0.26] * 2, color=PRINTED, linewidth=2.2, solid_capstyle="butt", zorder=2)
            axes.plot(
                np.mean(printed), place + 0.26, marker="D", markersize=5.5, color=PRINTED, zorder=3, clip_on=False
            )
        width = 1.4 if row["finding"] == "hint" else 3.2
        axes.plot([row["percent_low"], row["percent_high"]], [place] * 2, color=color, linewidth=width, zorder=2)
        filled, edge = ("white", color) if row["finding"] == "hint" else (color, "white")
        axes.plot(
            row["percent"], place, marker="o", markersize=8, color=filled, zorder=4, markeredgecolor=edge,
            markeredgewidth=1.4,
        )  # fmt: skip
        figure_y = axes.transData.transform((0, place))[1] / (figure.dpi * height)
        figure.text(0.41, figure_y + 0.075 / height, row["title"], ha="right", va="center", fontsize=9, color=INK)
        figure.text(
            0.41, figure_y - 0.105 / height, contrast_words(row), ha="right", va="center", fontsize=7.8, color=MUTED
        )
        figure.text(
            0.855, figure_y + 0.075 / height, percent_words(row["percent"]), va="center", fontsize=10.5,
            color=color if is_shown else MUTED, fontweight="bold" if is_shown else "normal",
        )  # fmt: skip
        figure.text(0.855, figure_y - 0.105 / height, interval_words(row), va="center", fontsize=7.8, color=MUTED)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(axis="x", color=GRID, labelcolor=MUTED, labelsize=8)
    axes.xaxis.set_major_formatter(lambda value, _: percent_words(value, 0))
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(
        "Change of first-year retention, as the report counts, with 95 % intervals", fontsize=8, color=MUTED
    )
    _legend(figure, height, has_printed=rows["printed_percent_low"].notna().any())


def _legend(figure: Any, height: float, has_printed: bool) -> None:
    place = 1 - 0.15 / height
    marks = [(0.425, "●", OURS, "shown"), (0.505, "○", OURS, "hint"), (0.57, "●", UNSURE, "not shown")]
    marks += [(0.76, "◆", PRINTED, "printed in the report")] if has_printed else []
    for x, mark, color, words in marks:
        figure.text(x, place, mark, color=color, fontsize=9, va="center")
        figure.text(x + 0.019, place, words, color=MUTED, fontsize=7.8, va="center")


def percent_words(value: float, digits: int = 1) -> str:
    """A change with its sign: +4.2 %, −1.0 %, 0 %."""
    rounded = round(value, digits)
    if rounded == 0:
        return "0 %"
    return f"{'+' if rounded > 0 else '−'}{abs(rounded):.{digits}f} %"


def interval_words(row: dict[str, Any]) -> str:
    """Both ends of the confidence interval, in percent."""
    return f"{percent_words(row['percent_low'])} to {percent_words(row['percent_high'])}"


def levels_words(row: dict[str, Any]) -> str:
    """How many of 100 stay at the contrast's two ends, all else as it is: "72 → 81 of 100"."""
    low, high = (round(100 * min(max(row[f"retention_at_{end}"], 0.0), 1.0)) for end in ("low", "high"))
    return f"{low} → {high} of 100"


def contrast_words(row: dict[str, Any]) -> str:
    """From where to where the driver goes: "from no to yes", "from 8 to 18 days"."""
    if row["unit"] == "yes_no":
        return "from no to yes"
    ends = row["contrast_low"], row["contrast_high"]
    if row["unit"] in ("share", "centroid"):
        ends = tuple(100 * end for end in ends)
    # a digit only where whole numbers would lose some of the contrast
    digits = 0 if all(abs(end - round(end)) < 0.05 for end in ends) or ends[1] >= 100 else 1
    unit = {"share": " %", "centroid": " % of the course", "percent": " %"}.get(row["unit"], f" {row['unit']}")
    if row["unit"] == "courses":
        unit = "" if row["contrast_high"] != 1 else " course"
    return f"from {ends[0]:.{digits}f} to {ends[1]:.{digits}f}{unit}"
