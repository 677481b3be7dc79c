"""How to speak to any Socket.IO v4 server that a `[server]` table describes.

Messages are ours: each carries an id that we chose, so what is owed is known before it is sent. A member
of a room is owed what is published there while it is connected, or always if the room is durable. A
message whose publishing was answered before the receiving client's connection began is a replay. Order is
judged by the server's `seq` where there is one, else by the order of the one socket that publishes; not at
all for unnumbered messages published by HTTP.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ..errors import SetupError
from ..faults.hostile_clients import HostileInputs
from ..generator.publisher import Fact, Outcome
from ..ledger.broadcasts import Kind, Row
from ..scenario.models import PublishByHttp, PublishBySocket, ServerSpec
from ..scenario.schedule import Publication, Workload, stream
from ..socketio_client import (
    CallTimeoutError,
    ConnectFailedError,
    LeanClient,
    NotConnectedError,
    ReconnectPolicy,
)
from ..target.http_client import RestError
from .base import ClientFindings, Profile, Progress, Stage, read_lines
from .virtual_client import VirtualClient

MAX_CACHED = 8_192
CONNECT_TIMEOUT_S = 20.0


def fill(template: Any, values: Mapping[str, object]) -> Any:
    """The template with every `{name}` replaced; a text that is only one `{name}` takes the value itself.

    Names that are not known stay as they are, so that JSON with braces passes.
    """
    if isinstance(template, str):
        if template[:1] == "{" and template[-1:] == "}" and template[1:-1] in values:
            return values[template[1:-1]]
        for name, value in values.items():
            template = template.replace("{" + name + "}", str(value))
        return template
    if isinstance(template, Mapping):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, Sequence):
        return [fill(value, values) for value in template]
    return template


def mentions(template: Any, name: str) -> bool:
    """Whether `{name}` occurs anywhere in the template."""
    if isinstance(template, str):
        return "{" + name + "}" in template
    if isinstance(template, Mapping):
        return any(mentions(value, name) for value in template.values())
    if isinstance(template, Sequence):
        return any(mentions(value, name) for value in template)
    return False


def parts(pointer: str) -> tuple[str, ...]:
    """The reference tokens of a JSON pointer. Source: RFC 6901."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def find(document: Any, tokens: Sequence[str]) -> Any:
    """The value that the tokens lead to, None when there is none."""
    for token in tokens:
        if isinstance(document, list):
            document = document[int(token)] if token.isdigit() and int(token) < len(document) else None
        elif isinstance(document, dict):
            document = document.get(token)
        else:
            return None
    return document


class _Deaf:
    """Of the publishing socket, which only sends."""

    def _nothing(self, *_: object, **__: object) -> None:
        return

    on_connect = on_event = on_refused = on_disconnect = _nothing


class Generic(Profile):
    """The profile of a described server."""

    nothing_to_check = (
        "A described server is judged by what was published to it; there is nothing else to check."
    )

    def __init__(self, stage: Stage) -> None:
        if stage.scenario.server is None:
            raise SetupError("The generic profile needs a [server] table.")
        super().__init__(stage)
        self.spec: ServerSpec = stage.scenario.server
        self.namespace = self.spec.namespace
        self.headers = dict(self.spec.headers)
        book, publish = stage.ledger.rooms, self.spec.publish
        ordered = self.spec.receive.seq is not None or isinstance(publish, PublishBySocket)
        self.names = [str(fill(self.spec.rooms.name, {"n": n})) for n in range(self.spec.rooms.count)]
        self.rooms = [book.room(name, durable=self.spec.rooms.durable) for name in self.names]
        self.streams = [book.stream(room.name, Kind.EVENT, (room,), ordered=ordered) for room in self.rooms]
        self._room_of: list[int] = []  # of each publish of the schedule
        self._cache: dict[bytes, Row] = {}
        self._id_at = parts(self.spec.receive.id)
        self._seq_at = None if self.spec.receive.seq is None else parts(self.spec.receive.seq)
        template = publish.body if isinstance(publish, PublishByHttp) else publish.args
        self._numbered = not mentions(template, "id") and mentions(template, "n")
        self._people = [row for row in read_lines(stage.tokens_file) if "token" in row]
        self._sender: LeanClient | None = None
        self._foreign = 0

    async def prepare(self, progress: Progress) -> Workload:
        """Nothing to make but the publishing socket."""
        if isinstance(self.spec.publish, PublishBySocket):
            await self._connect_sender()
        scenario = self.stage.scenario
        return Workload(scenario.publishers(scenario.users), [-1] * len(self.rooms), once=False)

    async def _connect_sender(self) -> None:
        scenario = self.stage.scenario
        sender = self._sender = LeanClient(
            self.stage.endpoint,
            _Deaf(),
            transport="websocket",
            namespace=self.namespace,
            auth=lambda: self.auth_of(scenario.clients),
            headers=self.headers,
            rng=stream(scenario.seed, "sender"),
            policy=ReconnectPolicy.default(),
        )
        sender.start()
        try:
            await sender.wait_connected(CONNECT_TIMEOUT_S)
        except ConnectFailedError as error:
            raise SetupError(f"The publishing socket could not connect: {error}") from error

    async def hostile_inputs(self) -> HostileInputs:
        """One more client than there are, as the template has it."""
        return HostileInputs(self.auth_of(self.stage.scenario.clients + 1))

    def plan(self, workload: Workload) -> list[Publication]:
        """A message's id names its publish: so it is noted which of them goes to which room."""
        plan = super().plan(workload)
        self._room_of = [item.room for item in plan]
        return plan

    def member(self, index: int) -> VirtualClient:
        """Client i of the run is in rooms i, i + 1 ... modulo their number."""
        first = self.stage.ledger.rooms.first + index
        count = min(self.spec.rooms.per_client, len(self.rooms))
        return GenericMember(index, self, [(first + n) % len(self.rooms) for n in range(count)])

    def auth_of(self, number: int) -> dict[str, Any] | None:
        """The CONNECT payload of a client, from the template."""
        filled: dict[str, Any] | None = fill(self.spec.auth, self.values_of(number))
        return filled

    def values_of(self, number: int) -> dict[str, object]:
        """What the templates of one client of the run may name."""
        person: Mapping[str, Any] = self._people[number % len(self._people)] if self._people else {}
        return {
            "client": number,
            "token": person.get("token", ""),
            "user_id": person.get("user_id", f"user-{number}"),
        }

    async def publish(self, item: Publication, intended_ns: int) -> Outcome:
        """Publish one message to one room."""
        values = {
            "id": f"{self.stage.run_id}-{item.n}",
            "room": self.names[item.room],
            "n": item.n,
            "stamp": intended_ns,
        }
        sent_ns = self.stage.now_ns()
        failure = await self._send(values)
        answered_ns = self.stage.now_ns()
        if failure:
            return Outcome("failed", failure)
        fact = Fact(item.room, item.n, intended_ns, sent_ns, answered_ns, item.measured)
        return Outcome("accepted", http_us=(answered_ns - sent_ns) // 1000, fact=fact)

    def published(self, fact: Fact) -> None:
        """Enter the message; receipts of it may have come before."""
        row = self.streams[fact.place].row(fact.position)
        row.published(fact.intended_ns, fact.sent_ns, fact.answered_ns, measured=fact.measured)

    async def _send(self, values: Mapping[str, object]) -> str:
        """Send one message; why it failed, empty when it did not."""
        publish = self.spec.publish
        try:
            if isinstance(publish, PublishByHttp):
                return await self._post(publish, values)
            return await self._emit(publish, values)
        except (RestError, NotConnectedError, CallTimeoutError) as error:
            return str(error)

    async def _post(self, publish: PublishByHttp, values: Mapping[str, object]) -> str:
        reply = await self.stage.rest.request(
            publish.method,
            str(fill(publish.path, values)),
            body=fill(publish.body, values),
            headers=fill(publish.headers, values),
            timeout_s=self.stage.scenario.publish.timeout_s,
        )
        return "" if 200 <= reply.status < 300 else f"status {reply.status}"

    async def _emit(self, publish: PublishBySocket, values: Mapping[str, object]) -> str:
        if self._sender is None:
            return "not connected"
        args = fill(publish.args, values)
        if publish.ack:
            timeout_s = self.stage.scenario.publish.timeout_s
            await self._sender.call(publish.event, *args, timeout_s=timeout_s)
            return ""
        return "" if self._sender.emit(publish.event, *args) else "not connected"

    def row_of(self, args: bytes) -> Row | None:
        """The row of a received message, remembered by its bytes; None when it is not one of ours."""
        row = self._cache.get(args)
        if row is not None:
            return row
        document = orjson.loads(b"[" + args + b"]")
        row = self._row_named(str(find(document, self._id_at)))
        if row is None:
            self._foreign += 1
            return None
        if self._seq_at is not None and isinstance(seq := find(document, self._seq_at), int):
            row.position = seq
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[args] = row
        return row

    def _row_named(self, message_id: str) -> Row | None:
        """The row of one of our ids, or of our numbers where the server carries no more than that; None for
        anybody else's message."""
        run_id, _, n = message_id.rpartition("-")
        ours = not run_id if self._numbered else run_id == self.stage.run_id
        if not ours or not n.isdecimal() or int(n) >= len(self._room_of):
            return None
        return self.streams[self._room_of[int(n)]].row(int(n))

    def witness(self) -> ClientFindings:
        """Messages that were not ours."""
        if not self._foreign:
            return ClientFindings()
        return ClientFindings(
            notes=[f"{self._foreign} messages of other publishers came in and were not judged."]
        )

    async def close(self) -> None:
        """Stop the publishing socket."""
        if self._sender is not None:
            await self._sender.stop()
            self._sender = None


class GenericMember(VirtualClient):
    """One client of a described server."""

    __slots__ = ("_cursors", "_join_left", "_recover_left", "_session_ns", "profile", "rooms")

    def __init__(self, index: int, profile: Generic, rooms: list[int]) -> None:
        super().__init__(index, profile.stage.ledger, profile.stage.outages)
        self.profile = profile
        self.rooms = rooms
        self._session_ns = 0
        self._join_left = 0
        self._recover_left = 0
        self._cursors: dict[str, int] = {}

    def auth(self) -> Mapping[str, object] | None:
        """The template, and on coming back the newest seq held per room, where the server wants that."""
        payload = self.profile.auth_of(self.number)
        recover = self.profile.spec.recover
        self._cursors = {}
        if recover is None or not self.ready_ns:
            return payload
        streams = [self.profile.streams[room] for room in self.rooms]
        self._cursors = {each.name: max(0, each.held[self.index]) for each in streams}
        return {**(payload or {}), recover.auth_key: self._cursors}

    def joined(self, at_ns: int) -> None:
        """Ask for everything the description says; owed from the last answer on."""
        self._session_ns = at_ns
        self._recover_left = len(self._cursors)
        names = [self.profile.names[room] for room in self.rooms]
        questions = [
            (join, name)
            for join in self.profile.spec.join
            for name in (names if mentions(join.args, "room") else names[:1])
        ]
        self._join_left = sum(join.ack for join, _ in questions)
        book = self.ledger.rooms
        for number in self.rooms:
            book.ask(self.profile.rooms[number], self.index, at_ns)
        for join, name in questions:
            values = self.profile.values_of(self.number) | {"room": name}
            ack = self._answered if join.ack else None
            self.client.emit(join.event, *fill(join.args, values), ack=ack)
        self._settle(at_ns)

    def _answered(self, args: bytes, at_ns: int) -> None:
        self._join_left -= 1
        self._settle(at_ns)

    def _settle(self, at_ns: int) -> None:
        if self._join_left > 0:
            return
        if not self.here:
            for room in self.rooms:
                self.ledger.rooms.enter(self.profile.rooms[room], self.index, at_ns)
            self.ready(at_ns)
        if self._recover_left <= 0:
            self.caught_up(at_ns)

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None:
        """A message, or the server's word on recovery; anything else is ignored."""
        spec = self.profile.spec
        if name == spec.receive.event:
            row = self.profile.row_of(args)
            if row is None:
                return
            if 0 < row.answered_ns < self._session_ns:
                row.receive_replayed(self.index, at_ns)
            else:
                row.receive(self.index, at_ns)
            self.fed(at_ns)
        elif spec.recover is not None and name == spec.recover.event:
            self._recovery(orjson.loads(b"[" + args + b"]"), at_ns)

    def _recovery(self, document: Any, at_ns: int) -> None:
        recover = self.profile.spec.recover
        outage = self.outages.open.get(self.index)
        if recover is None or find(document, parts(recover.room)) not in self._cursors:
            return
        if outage is not None and not find(document, parts(recover.recovered)):
            outage.reloaded = True
        self._recover_left -= 1
        self._settle(at_ns)
