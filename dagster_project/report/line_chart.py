"""Lines as a drawing that needs no library: inline SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    import numpy as np


def draw_lines(
    series: list[tuple[str, str, np.ndarray, bool]],
    x_name: str,
    y_name: str,
    y_range: tuple[float, float],
    x_range: tuple[float, float] | None = None,
    *,
    has_dots: bool = False,
) -> Markup:
    """Lines over axes with marks, as inline SVG.

    Args:
        series: of each line its name, colour, points of shape (n, 2) and whether it stands out
        x_name, y_name: what the axes are called
        y_range, x_range: their ends; of x those of the points when not given
        has_dots: whether a line that stands out has dots, also where they are many
    """
    import numpy as np

    width, height, left, bottom, top = 480, 300, 44, 42, 12
    all_x = np.concatenate([points[:, 0] for _, _, points, _ in series])
    low, high = x_range or (float(all_x.min()), float(max(all_x.max(), all_x.min() + 1)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - low) / (high - low) * (width - left - 14)
        return across, top + (y_range[1] - y) / (y_range[1] - y_range[0]) * (height - bottom - top)

    marks = []
    for y in (
        np.arange(round(y_range[0] * 10), round(y_range[1] * 10) + 1, 2 if y_range[1] - y_range[0] > 0.6 else 1) / 10
    ):
        _, at = place(low, y)
        marks.append(f'<line x1="{left}" x2="{width - 14}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e8ec"/>')
        marks.append(f'<text x="{left - 7}" y="{at + 4:.1f}" text-anchor="end">{y:.1f}</text>')
    steps = np.linspace(low, high, 6) if x_range else np.arange(low, high + 1, np.ceil((high - low) / 10))
    for x in steps:
        at, _ = place(x, y_range[0])
        text = f"{x:.1f}" if x_range else f"{x:.0f}"
        marks.append(f'<text x="{at:.1f}" y="{height - bottom + 18}" text-anchor="middle">{text}</text>')
    for _, color, points, stands_out in sorted(series, key=lambda one: one[3]):
        there = [place(x, np.clip(y, *y_range)) for x, y in points[np.isfinite(points).all(axis=1)]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in there)
        line = 2.8 if stands_out else 1.6
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{line}" stroke-linejoin="round"/>'
        )
        if stands_out and (has_dots or len(there) < 20):
            marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{color}" stroke="#fff"/>' for x, y in there]
    middle = (left + width - 14) / 2
    marks.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{escape(x_name)}</text>')
    turned = f'transform="translate(11 {(height - bottom) / 2}) rotate(-90)"'
    marks.append(f'<text {turned} text-anchor="middle">{escape(y_name)}</text>')
    label = escape(f"{y_name} by {x_name}")
    svg = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
    return Markup(svg)  # noqa: S704 - numbers and escaped names only
