"""Validation errors as sentences: the key's path, what is wrong, what was given, what was perhaps meant.

Pure; called by the scenario and by profiles that read TOML.
"""

import difflib
import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def sentence(root: type[BaseModel], item: ErrorDetails) -> str:
    """One validation error of a `root` document as a sentence that begins with the key's path."""
    path = [str(part) for part in item["loc"] if not _is_tag(part)]
    where = ".".join(path) or "scenario"
    if item["type"] == "extra_forbidden":
        known = known_keys(root, item["loc"][:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{where}: unknown key.{hint} Known here are: {', '.join(known)}."
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = item.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {message[0].lower()}{message[1:]}{shown}."


_TAGS = {
    *("drop", "flap", "slow", "half_open"),
    *("kill", "restart", "deploy", "reload", "pause", "hostile"),
    *("delay", "bandwidth", "cut", "stall", "half_close", "refuse"),
    *("socket", "http"),
}


def _is_tag(part: object) -> bool:
    return part in _TAGS


def known_keys(root: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the table that a path of keys, indices and union tags leads to, in alphabetical order."""
    here: Any = root
    for part in loc:
        models = _models(here)
        if part in _TAGS:
            here = next((m for m in models if part in get_args(_tag(m))), here)
        elif isinstance(part, str):
            here = next((m.model_fields[part].annotation for m in models if part in m.model_fields), here)
    return sorted({name for model in _models(here) for name in model.model_fields})


def _tag(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind") or model.model_fields.get("via")
    return field.annotation if field else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple, list, dict):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []
