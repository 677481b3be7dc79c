"""The `Emitter` port: what the services push goes to this node's sockets, and to the bus if there is one."""

from collections.abc import Callable, Sequence

from ..contracts.rooms import user_of_room
from ..contracts.types import DeliveryClass
from ..observability.tracing import Mark, Tracing
from ..ports import Push
from .delivery import Channels, encode_push
from .fanout import Fanout
from .rooms import RoomManager
from .websocket import Message

Publish = Callable[[str, Message], None]


class LocalEmitter:
    """Delivers to this node, and publishes to the others.

    publish: hands a message for a room to the other nodes; must neither wait nor raise. It is called before
    this node's own fan-out, so that the others do not wait for that. None: there are no others.
    """

    def __init__(
        self,
        rooms: RoomManager,
        fanout: Fanout,
        channels: Channels,
        publish: Publish | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._rooms = rooms
        self._fanout = fanout
        self._channels = channels
        self._publish = publish
        self._tracing = tracing or Tracing()

    def push(self, pushes: Sequence[Push]) -> None:
        """See `ports.Emitter.push`. Each fact is encoded once; what nobody anywhere wants is not."""
        encoded: tuple[object, Message] | None = None
        mark = self._tracing.mark()
        for push in pushes:
            if mark is not None:
                self._trace(push, mark)
            if self._publish is None and not self._wanted(push.room, push.delivery):
                continue
            if encoded is None or encoded[0] is not push.events:
                encoded = (push.events, encode_push(push))
                encoded[1].trace = mark
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

    def _trace(self, push: Push, mark: Mark) -> None:
        name, facts = push.events[-1]
        if push.delivery is DeliveryClass.DURABLE and name == "new_notification":
            self._tracing.ended("notification created", mark, id=str(facts["id"]), seq=push.version)

    def _wanted(self, room: str, delivery: DeliveryClass) -> bool:
        user_id = user_of_room(room) if delivery is DeliveryClass.DURABLE else None
        if user_id is not None:
            return self._channels.here(user_id)
        return self._rooms.room_size(room) > 0
