"""A scenario as TOML text again, so that a run directory holds what can be run once more.

Only what scenarios are made of: tables, lists of tables, strings, numbers, booleans and flat lists; null is
left out, as it is the default wherever it is allowed. The standard library reads TOML and does not write it.
Pure; called by the run directory.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .scenario.loader import Scenario

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def scenario_toml(scenario: Scenario) -> str:
    """The resolved scenario, every field named; `simulator.scenario.read` gives an equal one back."""
    return toml_text(scenario.model_dump(mode="json"))


def toml_text(table: Mapping[str, Any]) -> str:
    """A mapping as a TOML document. Raises TypeError for what TOML cannot hold here."""
    return "\n".join(_table(table, ())).strip("\n") + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    present = {key: value for key, value in table.items() if value is not None}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in present.items() if not _is_table(value)]
    for key, value in present.items():
        inner = (*path, key)
        name = ".".join(map(_key, inner))
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_table(value, inner)]
        elif _is_table(value):
            for row in value:
                lines += ["", f"[[{name}]]", *_table(row, inner)]
    return lines


def _is_table(value: Any) -> bool:
    """Whether it gets a header of its own: a mapping, or a list of nothing but mappings."""
    return isinstance(value, Mapping) or (
        isinstance(value, Sequence) and bool(value) and all(isinstance(row, Mapping) for row in value)
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no place in a scenario")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """A basic string: the escapes of JSON are those of TOML, which wants DEL escaped as well."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
