"""Reading YAML with checks of every key: an error names the file, the place in it and what was expected."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dagster_project.base.errors import WarehouseError

# libyaml, where PyYAML was built with it, reads a contract ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
IGNORED_META = frozenset({"dagster", "owner"})
_MISSING = object()


class ContractError(WarehouseError):
    """A contract that cannot be used; the message names the file, the place in it and what was expected."""


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The keys and values of a YAML file; none of an empty one.

    Raises:
        ContractError: there is no such file, or it is not YAML (with the line), or holds something else.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - both are safe loaders
    except FileNotFoundError:
        raise ContractError(f"{path}: there is no such file; expected YAML that describes tables") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        words = " ".join(text for text in (error.context, error.problem) if text)
        raise ContractError(f"{where}: not a readable YAML file: {words}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ContractError(f"{path}: not a readable YAML file: {error}") from error
    return Place(path, ()).mapping({} if document is None else document)


@dataclass(frozen=True)
class Place:
    """Where in a contract file we are, so that every error can say so."""

    path: Path
    steps: tuple[str, ...]

    def at(self, step: str) -> "Place":
        """The place one key further down."""
        return Place(self.path, (*self.steps, step))

    def error(self, key: str, found: Any, expected: str) -> ContractError:
        """What was found at a key, and what was expected."""
        found = "nothing" if found is None else repr(found)
        return ContractError(f"{': '.join([str(self.path), *self.steps, key])}: found {found}, expected {expected}")

    def mapping(self, value: Any) -> Mapping[str, Any]:
        """A value that must have keys; raises ContractError."""
        if not isinstance(value, Mapping):
            place = ": ".join([str(self.path), *self.steps])
            raise ContractError(f"{place}: found {value!r}, expected keys and values")
        return value

    def only(self, mapping: Mapping[str, Any], known: set[str]) -> None:
        """Raise ContractError for a key that is not known: a misspelt one would do nothing."""
        for key in mapping:
            if key not in known:
                raise self.error(str(key), mapping[key], f"no such key; known are {', '.join(sorted(known))}")

    def meta(self, block: Mapping[str, Any], known: set[str]) -> Mapping[str, Any]:
        """A block's `config.meta`, with no keys but the known ones."""
        place = self.at("config")
        config = place.mapping(block.get("config", {}))
        place = place.at("meta")
        meta = place.mapping(config.get("meta", {}))
        place.only(meta, known | IGNORED_META)
        return meta

    def text(self, mapping: Mapping[str, Any], key: str, default: Any = _MISSING) -> Any:
        """A text that is not blank, or the default; raises ContractError."""
        value = mapping.get(key, default)
        if value is default and default is not _MISSING:
            return default
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, None if value is _MISSING else value, "a text")
        return value

    def texts(self, mapping: Mapping[str, Any], key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts, or the default; raises ContractError."""
        value = mapping.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, value, "a list of texts")
        return tuple(value)

    def boolean(self, mapping: Mapping[str, Any], key: str, *, default: bool) -> bool:
        """True or false, or the default; raises ContractError."""
        value = mapping.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value


def meta_of(node: dict) -> dict:
    """`config.meta` of a node of a YAML file of dbt; empty where it has none."""
    return node.get("config", {}).get("meta", {})


def one_line(node: dict) -> str:
    """Description of such a node, without its line breaks."""
    return " ".join(node.get("description", "").split())
