"""JSON Schemas of the payload classes, as the generated documents use them.

Pure reading of the contract modules; called by `asyncapi` and `generate` only.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from . import events, rest

REF = "#/components/schemas/"
_BASES = {events.Incoming, events.Outgoing, rest.Body, rest.Out, BaseModel}

Schemas = dict[str, dict[str, Any]]
Mode = Literal["validation", "serialization"]


def models_of(module: object) -> list[type[BaseModel]]:
    """The payload classes that a module defines, in the order in which it defines them."""
    return [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, BaseModel)
        and item not in _BASES
        and item.__module__ == getattr(module, "__name__", None)
    ]


def _mode(model: type[BaseModel]) -> Mode:
    incoming = issubclass(model, events.Incoming | rest.Body) or model is events.ConnectAuth
    return "validation" if incoming else "serialization"


def schemas_of(models: Sequence[type[BaseModel]]) -> Schemas:
    """The schemas of these classes and of all they refer to, by name in ascending order."""
    _, document = models_json_schema(
        [(model, _mode(model)) for model in models], ref_template=REF + "{model}"
    )
    defs: Schemas = document["$defs"]
    return {name: _without_titles(defs[name]) for name in sorted(defs)}


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without the field titles that pydantic makes from the field names."""
    kept = {key: value for key, value in schema.items() if key != "title"}
    for name, field in kept.get("properties", {}).items():
        kept["properties"][name] = {key: value for key, value in field.items() if key != "title"}
    return kept
