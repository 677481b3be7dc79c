"""The `Emitter` port: what the services push goes to this node's sockets, and to the bus if there is one."""

from collections.abc import Callable, Sequence

from ..contracts.rooms import user_of_room
from ..contracts.types import DeliveryClass
from ..ports import Push
from . import trail
from .delivery import Channels, encode_push
from .fanout import Fanout, Rooms
from .websocket import Message

Publish = Callable[[str, Message], None]


class LocalEmitter:
    """Delivers to this node, and publishes to the others.

    publish: hands a message for a room to the other nodes; must neither wait nor raise. It is called before
    this node's own fan-out, so that the others do not wait for that. None: there are no others.
    encode: makes the message of a push; None: `encode_push`.
    """

    def __init__(
        self,
        rooms: Rooms,
        fanout: Fanout,
        channels: Channels,
        publish: Publish | None = None,
        encode: Callable[[Push], Message] | None = None,
    ) -> None:
        self._rooms = rooms
        self._fanout = fanout
        self._channels = channels
        self._publish = publish
        self._encode = encode or encode_push

    def push(self, pushes: Sequence[Push]) -> None:
        """See `ports.Emitter.push`. Each fact is encoded once; what nobody anywhere wants is not."""
        encoded: tuple[object, Message] | None = None
        followed = trail.followed()
        for push in pushes:
            if followed:
                trail.handed_on(push)
            if self._publish is None and not self._wanted(push.room, push.delivery):
                continue
            if encoded is None or encoded[0] is not push.events:
                encoded = (push.events, self._encode(push))
            if self._publish is not None:
                self._publish(push.room, encoded[1])
            self.deliver(push.room, encoded[1])

    def deliver(self, room: str, message: Message) -> None:
        """Deliver to the sockets of this node only: also the way in for what the bus brings."""
        user_id = user_of_room(room) if message.delivery is DeliveryClass.DURABLE else None
        if user_id is not None:
            self._channels.deliver(user_id, message)
        else:
            self._fanout.put(room, message)

    def _wanted(self, room: str, delivery: DeliveryClass) -> bool:
        user_id = user_of_room(room) if delivery is DeliveryClass.DURABLE else None
        if user_id is not None:
            return self._channels.here(user_id)
        return self._rooms.room_size(room) > 0
