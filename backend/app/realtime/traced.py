"""From a stored notification to its sockets, as spans; put around emitter and fan-out where tracing is on.

A push is written later and in somebody else's task, so each message carries where its trace stood. Only on
the node that made it: the bus takes no trace along.
"""

from collections.abc import Callable, Sequence

from ..contracts.types import DeliveryClass
from ..observability.tracing import Mark, Tracing
from ..ports import Emitter, Push
from .delivery import encode_push
from .websocket import Message

OnFlush = Callable[[float, int, list[Message]], None]


class TracedEmitter:
    """An `Emitter` that says which notifications were created."""

    def __init__(self, emitter: Emitter, tracing: Tracing) -> None:
        self._emitter = emitter
        self._tracing = tracing

    def push(self, pushes: Sequence[Push]) -> None:
        """See `ports.Emitter.push`."""
        for push in pushes:
            name, facts = push.events[-1]
            if push.delivery is DeliveryClass.DURABLE and name == "new_notification":
                here = self._tracing.mark()
                self._tracing.ended("notification created", here, id=str(facts["id"]), seq=push.version)
        self._emitter.push(pushes)


class TracedPushes:
    """Marks messages when they are encoded, and ends their spans when they are written."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def encode(self, push: Push) -> Message:
        """The message of a push, marked with the trace it belongs to."""
        message = encode_push(push)
        message.trace = self._tracing.mark()
        return message

    def around(self, on_flush: OnFlush) -> OnFlush:
        """What the fan-out tells after each flush, and a span per marked message that had a socket."""

        def flushed(waited_s: float, sockets: int, messages: list[Message]) -> None:
            on_flush(waited_s, sockets, messages)
            for message in messages:
                if sockets and isinstance(message.trace, Mark):
                    event = " ".join(message.names)
                    self._tracing.ended("push", message.trace, event=event, sockets=sockets)

        return flushed
