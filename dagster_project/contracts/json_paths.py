"""Paths into JSON records, as contracts write them: `context.module.usage_key`, `parent[0].id`, `e['https://x/y']`.

Keys stand between dots; those that hold a dot, as URLs do, in brackets and quotes; places of a list, from 0, in
brackets. `$` is the whole record.
"""

import re
from collections.abc import Sequence

Path = tuple[str | int, ...]
"""Keys of objects and places in lists, from the outside in; empty: the whole record."""
STEP = re.compile(
    r"""\.?(?P<key>[^.\[\]'"\\]+)|\[(?P<place>\d{1,9})\]|\[(?P<sign>['"])(?P<quoted>[^'"\\]+)(?P=sign)\]"""
)


def read_path(text: str) -> Path | None:
    """The path that a text writes; None where it writes none."""
    if text == "$":
        return ()
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        found = STEP.match(text, position)
        if found is None or (found["key"] is not None and text[position] == ".") != (
            found["key"] is not None and position > 0
        ):
            return None
        steps.append(int(found["place"]) if found["place"] is not None else found["key"] or found["quoted"])
        position = found.end()
    return tuple(steps) or None


def path_sql(path: Path) -> str:
    """The path as the engine's JSON functions take it."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in path)


def is_below(path: Path, other: Path) -> bool:
    """Whether what lies at `path` is what lies at `other`, or a part of it."""
    return path[: len(other)] == other


def nearest_above(path: Path, others: Sequence[Path]) -> Path:
    """The longest of some paths above `path`, or the path of the whole record."""
    return max((other for other in others if is_below(path, other) and other != path), key=len, default=())
