"""How to speak to any Socket.IO v4 server, as TOML: the `[server]` table of a scenario or of a profile file.

Pure data, validated whole. Texts are templates: `{client}`, `{room}`, `{token}`, `{user_id}` when connecting
and joining; `{id}`, `{room}`, `{n}` when publishing. A template that is only one name keeps the value's type.
Read by the scenario and by the generic profile.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Json = Any
Pointer = Annotated[
    str,
    Field(pattern=r"^(/[^/]*)*$", description="RFC 6901 pointer into the array of the event's arguments."),
]
EventName = Annotated[str, Field(min_length=1, max_length=200)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Join(Table):
    """An event emitted after CONNECT. ack: wait for the server's answer before anything is owed."""

    event: EventName
    args: list[Json] = []
    ack: bool = True


class Rooms(Table):
    """Where messages go. Client i is in rooms i, i+1 ... of `count`; one room holds everybody.

    durable: the server promises to replay what a member missed while away (its absence is no excuse).
    """

    count: int = Field(1, ge=1, le=100_000)
    per_client: int = Field(1, ge=1, le=1_000)
    name: str = Field("room-{n}", min_length=1, max_length=200)
    durable: bool = False


class PublishBySocket(Table):
    """Emitted by a socket of its own, in order. ack: the answer ends the publish, else none is awaited."""

    via: Literal["socket"]
    event: EventName
    args: list[Json]
    ack: bool = True


class PublishByHttp(Table):
    """Posted with the server's own HTTP interface. Any 2xx is accepted."""

    via: Literal["http"]
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    path: str = Field(pattern=r"^/\S*$")
    headers: dict[str, str] = {}
    body: Json = None


class Receive(Table):
    """How a pushed message tells what it is.

    id: of the message, as the publisher set it: `{id}`, unlike in any other run, or `{n}`, the number of the
    publish, for a server that carries only a number. Either leads to the intended time, so no stamp has to
    come back. seq: ascending per room, where the server numbers messages;
    without it order is judged by the publisher's own order, and only where one socket publishes.
    """

    event: EventName
    id: Pointer = "/0/id"
    seq: Pointer | None = None


class Recover(Table):
    """How a client that comes back is caught up, where the server can do that.

    auth_key: in the CONNECT payload, holding {room: newest seq held} (needs `receive.seq`). event: the
    server's word, per room, on whether it replayed; `room` and `recovered` point into it.
    """

    auth_key: str = Field(min_length=1, max_length=100)
    event: EventName
    room: Pointer = "/0/room"
    recovered: Pointer = "/0/recovered"


class ServerSpec(Table):
    """A server as the generic profile sees it."""

    path: str = Field("/socket.io/", pattern=r"^/\S*$")
    namespace: str = Field("/", pattern=r"^/\S*$")
    auth: dict[str, Json] | None = None
    headers: dict[str, str] = {}
    join: list[Join] = []
    rooms: Rooms = Rooms()
    recover: Recover | None = None
    publish: Annotated[PublishBySocket | PublishByHttp, Field(discriminator="via")]
    receive: Receive
