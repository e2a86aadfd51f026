"""The frame of a page that opens anywhere: one HTML document without scripts, fonts or images from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { --ink: #1c2530; --muted: #5c6873; --line: #dde3e8; --soft: #f5f7f8; --accent: #0b6e63; --other: #d1603d; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
header { background: linear-gradient(160deg, #0b3d3a, #0b6e63); color: #fff; padding: 3.2rem 0 2.6rem; }
header > div, main, footer { max-width: 1040px; margin: 0 auto; padding-left: 1.5rem; padding-right: 1.5rem; }
header h1 { font-size: 2.3rem; line-height: 1.15; margin: 0 0 .7rem; letter-spacing: -.01em; }
header p { font-size: 1.12rem; margin: 0; max-width: 46rem; color: #dcecea; }
main { padding-top: 1rem; padding-bottom: 3rem; }
h2 { font-size: 1.5rem; margin: 3rem 0 .6rem; letter-spacing: -.01em; }
h3 { font-size: 1.08rem; margin: 2rem 0 .2rem; }
p { max-width: 52rem; margin: .5rem 0; }
.muted, figcaption { color: var(--muted); font-size: .92rem; }
nav { margin: 1.2rem 0 0; font-size: .95rem; } nav a { color: #fff; margin-right: 1.2rem; }
a { color: var(--accent); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: .9rem; margin: 1.4rem 0; }
.card { border: 1px solid var(--line); border-top: 4px solid var(--accent); border-radius: 6px; padding: .9rem 1rem; }
.card.down { border-top-color: var(--other); }
.card b { display: block; font-size: 1.75rem; line-height: 1.2; }
.card span { display: block; font-size: .95rem; } .card small { color: var(--muted); }
.note { background: var(--soft); border-left: 4px solid var(--accent); padding: .8rem 1.1rem; border-radius: 0 6px 6px 0;
  margin: 1.2rem 0; } .note p { margin: .3rem 0; }
figure { margin: .8rem 0 1.6rem; } figure img { width: 100%; height: auto; display: block; }
ul.plain { padding-left: 1.15rem; margin: .4rem 0; } ul.plain li { margin: .28rem 0; max-width: 50rem; }
.scroll { overflow-x: auto; margin: 1rem 0; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; line-height: 1.35; }
th { text-align: left; background: var(--soft); font-weight: 600; vertical-align: bottom; }
th, td { padding: .42rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } tr.head td { background: #eef3f2; font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } td.number { white-space: nowrap; }
td:first-child { min-width: 11.5rem; }
td.sure { font-weight: 650; color: var(--accent); } td.sure.down { color: #b04a28; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--accent); }
footer { border-top: 1px solid var(--line); padding-top: 1.2rem; padding-bottom: 3rem; color: var(--muted); font-size: .88rem; }
@media print { header { background: #fff; color: #000; } header p, nav a { color: #333; } figure, .card { break-inside: avoid; } }
"""


def document(
    title: str, lead: str, body: Iterable[str], *, links: Sequence[tuple[str, str]] = (), foot: str = ""
) -> str:
    """A page. ``body`` are parts of HTML; ``links`` pairs of an anchor in it and what it says."""
    nav = "".join(f'<a href="#{anchor}">{escape(words)}</a>' for anchor, words in links)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><div><h1>{escape(title)}</h1><p>{escape(lead)}</p>{f'<nav>{nav}</nav>' if nav else ''}</div></header>\n"
        "<main>\n" + "\n".join(body) + f"\n</main>\n<footer>{foot}</footer>\n</body>\n</html>\n"
    )


def table(heads: Sequence[tuple[str, bool]], rows: Iterable[str]) -> str:
    """A table that scrolls where it is too wide. ``heads`` are words and whether the column holds numbers."""
    head = "".join(f"<th{' class=number' if number else ''}>{words}</th>" for words, number in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
