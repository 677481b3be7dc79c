"""The `Emitter` port: what the services push goes to this node's sockets, and to the bus if there is one."""

from collections.abc import Callable, Sequence

from ..contracts.rooms import user_of_room
from ..contracts.words import DeliveryClass
from ..ports import Push
from .channels import Channels, encode_push
from .fanout import Fanout, Rooms
from .frames import Message

Publish = Callable[[Push], None]


class LocalEmitter:
    """Delivers to this node.

    publish: hands a push to the other nodes first, so that they do not wait for this node's own fan-out;
    must neither wait nor raise.
    """

    def __init__(
        self, rooms: Rooms, fanout: Fanout, channels: Channels, publish: Publish | None = None
    ) -> None:
        self._rooms = rooms
        self._fanout = fanout
        self._channels = channels
        self._publish = publish

    def push(self, pushes: Sequence[Push]) -> None:
        """See `ports.Emitter.push`."""
        if self._publish is not None:
            for push in pushes:
                self._publish(push)
        self.deliver(pushes)

    def deliver(self, pushes: Sequence[Push]) -> None:
        """Deliver to the sockets of this node only. Events that nobody here wants are not even encoded."""
        encoded: tuple[object, Message] | None = None
        for push in pushes:
            user_id = user_of_room(push.room) if push.delivery is DeliveryClass.DURABLE else None
            wanted = (
                self._channels.here(user_id) if user_id is not None else self._rooms.room_size(push.room) > 0
            )
            if not wanted:
                continue
            if encoded is None or encoded[0] is not push.events:
                encoded = (push.events, encode_push(push))
            if user_id is not None:
                self._channels.deliver(user_id, encoded[1])
            else:
                self._fanout.put(push.room, encoded[1])
