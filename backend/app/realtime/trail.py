"""The trail of one validation through the log, at level debug: from its request to the sockets of its pushes.

    validation accepted   request_id, validation_id, claim_id        (api/validations.py)
    push handed on        request_id, notification_id, seq, and what caused it
    push written          notification_ids, socket_ids               on each node with a socket of the user
    socket opened         socket_id, session_id                      the id its client knows

Costs one comparison where debug is off. Never a title, a message or a token; nor the id of a transport, with
which somebody could poll in its place: `socket_id` is a digest of it. Called by emitter, fan-out and gateway.
"""

import logging
from collections.abc import Sequence
from hashlib import blake2b

import orjson

from ..contracts.types import DeliveryClass
from ..observability.logs import request_id
from ..ports import Push
from .engine import Session
from .websocket import Message

log = logging.getLogger(__name__)

IDS_NAMED = 20
"""More sockets, or more notifications in one write, are counted only."""
CAUSES = ("validation_id", "claim_id")


def followed() -> bool:
    """Whether anybody reads the trail."""
    return log.isEnabledFor(logging.DEBUG)


def handed_on(push: Push) -> None:
    """A push leaves the request that made it."""
    if push.delivery is not DeliveryClass.DURABLE:
        return
    facts = push.events[-1][1]
    data = facts.get("data", {})
    causes = {name: data[name] for name in CAUSES if name in data}
    log.debug("push handed on", extra={"notification_id": facts.get("id"), "seq": push.version, **causes})


def written(sessions: Sequence[Session], messages: Sequence[Message]) -> None:
    """Messages were written to sockets; nothing is said where there were none."""
    ids = [_id_of(message) for message in messages if message.delivery is DeliveryClass.DURABLE]
    if not ids or not sessions:
        return
    # A flush runs in the context of whatever woke it, which is somebody else's request for most of these.
    token = request_id.set(None)
    try:
        log.debug(
            "push written",
            extra={
                "notification_ids": " ".join(ids[:IDS_NAMED]),
                "socket_ids": " ".join(map(socket_id, sessions[:IDS_NAMED])),
                "sockets": len(sessions),
            },
        )
    finally:
        request_id.reset(token)


def opened(session_id: str, session: Session) -> None:
    """A socket is let in."""
    if followed():
        log.debug("socket opened", extra={"socket_id": socket_id(session), "session_id": session_id})


def socket_id(session: Session) -> str:
    """A name for a transport that is of no use to anybody who reads the log."""
    return blake2b(session.sid.encode(), digest_size=6).hexdigest()


def _id_of(message: Message) -> str:
    """Of a notification, read off its last packet: `2["new_notification",{"id": ...}]`."""
    packet = message.packets[-1]
    body = orjson.loads(packet[packet.index(b"[") :])[-1]
    return str(body.get("id", ""))
