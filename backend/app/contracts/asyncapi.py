"""The AsyncAPI 3 document of the socket events, the JSON Schemas of the payloads, and a small YAML writer."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from . import CONTRACT_VERSION, SOCKETIO_PATH, events, rest

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


def document() -> dict[str, Any]:
    """The AsyncAPI 3 document as data; actions are those of the server."""
    acks = {f"{name}_ack": event.ack for name, event in events.CLIENT_EVENTS.items() if event.ack}
    payloads: dict[str, type[BaseModel]] = {
        "connect": events.ConnectAuth,
        **{name: event.payload for name, event in events.CLIENT_EVENTS.items()},
        **{name: event.payload for name, event in events.SERVER_EVENTS.items()},
        **acks,
        "error_ack": events.ErrorAck,
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vouchstorm live events",
            "version": f"{CONTRACT_VERSION}",
            "description": "Socket.IO (protocol 5) over Engine.IO (protocol 4), namespace `/`. Every event "
            "carries one JSON object. Where an acknowledgement was asked for, a refusal is an `error_ack`.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "node": {"host": "localhost:8000", "pathname": SOCKETIO_PATH, "protocol": "socket.io"},
        },
        "channels": {
            "namespace": {
                "address": "/",
                "title": "The default namespace",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in payloads},
            }
        },
        "operations": dict(_operations()),
        "components": {
            "messages": {name: _message(name, model) for name, model in payloads.items()},
            "schemas": schemas_of(list(dict.fromkeys(payloads.values()))),
        },
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    channel = {"$ref": "#/channels/namespace"}
    yield (
        "receive_connect",
        {
            "action": "receive",
            "channel": channel,
            "summary": "The `auth` payload of the Socket.IO CONNECT packet.",
            "messages": [_in_channel("connect")],
        },
    )
    for name, client_event in events.CLIENT_EVENTS.items():
        answers = [] if client_event.answer == "ack" else [client_event.answer]
        if client_event.ack is not None:
            answers.append(f"{name}_ack")
        yield (
            f"receive_{name}",
            {
                "action": "receive",
                "channel": channel,
                "messages": [_in_channel(name)],
                "reply": {
                    "channel": channel,
                    "messages": [_in_channel(answer) for answer in [*answers, "error_ack"]],
                },
                "x-access": client_event.access.value,
            },
        )
    for name, server_event in events.SERVER_EVENTS.items():
        yield (
            f"send_{name}",
            {
                "action": "send",
                "channel": channel,
                "messages": [_in_channel(name)],
                "x-delivery": server_event.delivery.value,
            },
        )


def _in_channel(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/namespace/messages/{name}"}


def _message(name: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"name": name, "payload": {"$ref": f"{REF}{model.__name__}"}}


# ---------------------------------------------------------------- YAML

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_NOT_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def to_yaml(value: Any) -> str:
    """JSON-able data as block-style YAML 1.2 (also read alike by YAML 1.1 readers)."""
    return "".join(f"{line}\n" for line in _yaml_lines(value))


def _yaml_lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _yaml_entry(f"{_yaml_scalar(str(key))}:", inner)
    elif isinstance(value, list) and value:
        for inner in value:
            first, *rest_of = _yaml_lines(inner)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest_of)
    else:
        yield _yaml_scalar(value)


def _yaml_entry(head: str, inner: Any) -> Iterator[str]:
    if isinstance(inner, Mapping | list) and inner:
        yield head
        yield from (f"  {line}" for line in _yaml_lines(inner))
    else:
        yield f"{head} {_yaml_scalar(inner)}"


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)
