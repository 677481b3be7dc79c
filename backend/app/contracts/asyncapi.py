"""The AsyncAPI 3 document of the socket events, and the small YAML writer that prints it.

Refuses nothing and reads no files; `generate` writes the text to `docs/asyncapi.yaml`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from . import CONTRACT_VERSION, SOCKETIO_PATH, events
from .schemas import REF, schemas_of


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
