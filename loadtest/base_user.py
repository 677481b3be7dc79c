"""What all simulated people do: have an account, speak REST, hold a socket that comes back when it is lost.

`Member` is a Locust user of the service, `SocketMember` one with a Socket.IO connection: it measures
connecting, authenticating, coming back and catching up, and enters every failure. What the events mean is up
to the classes in `users`.
"""

import time
from typing import Any

import gevent
import orjson
from gevent.event import AsyncResult, Event
from locust import FastHttpUser
from locust.env import Environment
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from .fixtures import Person
from .ledger import Return, Totals
from .shared_state import LoadRoom, count, room_of
from .socketio_client import LeanSocket, LeanSocketError

PASSWORD = "a password of no importance"  # noqa: S105 - of throw-away users
CONNECT_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 10.0
BACK_OFF_S = (1.0, 5.0)
RETURN_S = (0.5, 1.5)
AWAY_S = (0.5, 3.0)


class MemberError(Exception):
    """What a simulated person could not do; the text is the failure in Locust's tables."""


class Member(FastHttpUser):
    """A person with an account. room: what the users of this process share."""

    abstract = True
    network_timeout = 20.0
    connection_timeout = 10.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.room: LoadRoom = room_of(environment)
        self.number = self.room.number()
        self.rng = self.room.rng(type(self).__name__, self.number)
        self.person = Person("", "")

    def on_start(self) -> None:
        """Become somebody."""
        self.person = self.room.person() or self._register()

    def _register(self) -> Person:
        body = {"username": self.room.new_username(self.number), "password": PASSWORD}
        session = self.ask("POST", "/api/auth/register", json=body)
        if session is None:
            raise MemberError("nobody can register; give seeded users with --tokens")
        return Person(session["user"]["id"], session["token"])

    def ask(self, method: str, path: str, *, name: str | None = None, json: Any = None) -> Any:
        """One request as this person; its body, or None after a failure, which is entered."""
        with self.client.request(
            method,
            path,
            name=f"{method} {name or path}",
            headers=self.headers(),
            json=json,
            catch_response=True,
        ) as response:
            if not 200 <= response.status_code < 300:
                response.failure(said(response))
                return None
            response.success()
            return orjson.loads(response.content or b"null")

    def headers(self) -> dict[str, str]:
        """Who asks."""
        return self.person.bearer if self.person.token else {}

    def post_claim(self) -> str | None:
        """Post a claim for others to answer; its id."""
        title = f"Load claim {self.number} of {self.rng.getrandbits(32):08x}"
        body = {"title": title, "quorum": self.room.options.quorum}
        claim = self.ask("POST", "/api/claims", json=body)
        if claim is None:
            return None
        self.room.claims.add(claim["id"], claim["owner_id"])
        return str(claim["id"])


def said(response: Any) -> str:
    """Status and code of a refusal, for Locust's table of failures."""
    try:
        return f"{response.status_code} {orjson.loads(response.content or b'{}').get('code', '')}".strip()
    except (orjson.JSONDecodeError, AttributeError):
        return f"{response.status_code}"


class SocketMember(Member):
    """A person with an open socket. live: scope of the live events it wants."""

    abstract = True
    live = "watched"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.sock: LeanSocket | None = None
        self.caught_up = Event()
        self._authenticated: Any = AsyncResult()
        self._returning: Any = None
        self._lost_again_s: float | None = None
        self._return = Return()
        self._leaving = False
        self._draining_ms = 0
        self._established = False

    # -------------------------------------------------------------- for the classes below

    def cursor(self) -> int | None:
        """The seq to say on connecting; None when there is nothing to catch up with."""
        return None

    def greeted(self, body: Any, at_ns: int) -> None:
        """The server said `authenticated`: the socket is in its rooms. Must not wait."""

    def catch_up(self, body: Any) -> None:
        """Get what was missed; `caught_up` says when. Called in a greenlet after each return."""
        self.caught_up.set()

    def heard(self, name: str, args: bytes, at_ns: int) -> None:
        """An event. Must not wait."""

    def settle(self) -> None:
        """The test is over, the socket is still open: compare with the truth."""

    # -------------------------------------------------------------- life

    def on_start(self) -> None:
        """Connect, as often as it takes."""
        super().on_start()
        self.room.connects["attempted"] += 1
        while self._open() is None:
            gevent.sleep(self.rng.uniform(*BACK_OFF_S))
            if self._state == LOCUST_STATE_STOPPING:
                raise StopUser

    def on_stop(self) -> None:
        """Compare with the truth, then leave."""
        self._leaving = True
        if self._returning is not None:
            self._returning.kill()
        self.room.recoveries["drops"] -= self._return.cut_short(time.monotonic_ns())
        try:
            self.settle()
        finally:
            self._let_go(goodbye=True)

    def _open(self) -> Any:
        """Connect and authenticate once; the body of `authenticated`, or None after a failure."""
        room = self.room
        self._authenticated = AsyncResult()
        auth: dict[str, object] = {"token": self.person.token, "live": self.live}
        if (cursor := self.cursor()) is not None:
            auth["last_seq"] = cursor
        if room.endpoint is None:
            raise MemberError("no host to connect to")
        sock = LeanSocket(room.endpoint, self, auth)
        started_ns = time.monotonic_ns()
        try:
            sock.connect(CONNECT_TIMEOUT_S)
            room.measure("WS", "connect", time.monotonic_ns() - started_ns)
            with gevent.Timeout(ANSWER_TIMEOUT_S, LeanSocketError("not authenticated in time")):
                body, at_ns = self._authenticated.get()
        except LeanSocketError as error:
            room.connects["refused"] += str(error).startswith("refused")
            count(room.connect_failures, str(error))
            room.measure("WS", "connect", time.monotonic_ns() - started_ns, error)
            sock.drop()
            return None
        except BaseException:
            sock.drop()
            raise
        room.measure("WS", "authenticate", at_ns - sock.connect_sent_ns)
        room.opened()
        room.connects["established"] += not self._established
        self._established = True
        self.sock = sock
        return body

    # -------------------------------------------------------------- for the socket: these must not wait

    def on_event(self, name: str, args: bytes, at_ns: int) -> None:
        """An event arrived."""
        if name == "authenticated":
            body = orjson.loads(args)
            self.greeted(body, at_ns)
            self._authenticated.set((body, at_ns))
        elif name == "auth_error":
            self._refused(orjson.loads(args).get("message", ""))
        elif name == "server_draining":
            self._draining_ms = int(orjson.loads(args)["reconnect_after_ms"])
        else:
            self.heard(name, args, at_ns)

    def _refused(self, message: str) -> None:
        if not self._authenticated.ready():
            self._authenticated.set_exception(LeanSocketError(f"refused: {message}"))

    def on_lost(self, reason: str) -> None:
        """The connection ended without our doing."""
        if not self._authenticated.ready():
            self._authenticated.set_exception(LeanSocketError(reason))
            return
        if self._leaving:
            return
        if not self._draining_ms:
            self.room.fail("WS", "disconnect", MemberError(reason))
        away_s = self._draining_ms / 1000 or self.rng.uniform(*RETURN_S)
        self._draining_ms = 0
        if self._is_returning():
            self._lost_again_s = away_s  # while it was still catching up: the return begins anew
        else:
            self.go_away(away_s)

    # -------------------------------------------------------------- going and coming back

    def go_away(self, away_s: float) -> None:
        """Be without a connection for a while, then come back and catch up; nobody who leaves does."""
        if not self._leaving and not self._is_returning():
            self._let_go(goodbye=False)
            self._returning = gevent.spawn(self._come_back, away_s)

    def _is_returning(self) -> bool:
        return self._returning is not None and not self._returning.dead

    def drop(self) -> None:
        """Lose the connection on purpose."""
        self.go_away(self.rng.uniform(*AWAY_S))

    def _come_back(self, away_s: float) -> None:
        """Until it is back, and has not lost the connection while it caught up."""
        again_s: float | None = away_s
        while again_s is not None:
            self._return_after(again_s)
            again_s, self._lost_again_s = self._lost_again_s, None
            if again_s is not None:
                self._let_go(goodbye=False)

    def _return_after(self, away_s: float) -> None:
        room = self.room
        room.recoveries["drops"] += 1
        self._return.begin(time.monotonic_ns(), away_s)
        gevent.sleep(away_s)
        allowed_ns = time.monotonic_ns()
        self.caught_up.clear()
        while (body := self._open()) is None:
            gevent.sleep(self.rng.uniform(*BACK_OFF_S))
        self._return.end()
        room.recoveries["reconnected"] += 1
        room.time_of("reconnect", time.monotonic_ns() - allowed_ns)
        self.catch_up(body)
        came = self.caught_up.wait(ANSWER_TIMEOUT_S)
        error = None if came else MemberError("not caught up in time")
        room.measure("WS", "replay", time.monotonic_ns() - allowed_ns, error)

    def _let_go(self, *, goodbye: bool) -> None:
        sock, self.sock = self.sock, None
        if sock is None:
            return
        self.room.closed()
        self.room.handler_errors += sock.handler_errors
        if goodbye:
            sock.close()
        else:
            sock.drop()

    def call(self, name: str, data: object) -> Any:
        """Ask over the socket and measure the acknowledgement; None after a failure, which is entered."""
        sock = self.sock
        if sock is None:
            return None
        started_ns = time.monotonic_ns()
        try:
            body, took_ns = sock.call(name, data, ANSWER_TIMEOUT_S)
        except LeanSocketError as error:
            if sock is self.sock and not self._leaving:  # else the end of the connection is entered already
                self.room.measure("WS", f"ack:{name}", time.monotonic_ns() - started_ns, error)
            return None
        if isinstance(body, dict) and "error" in body:
            self.room.measure("WS", f"ack:{name}", took_ns, MemberError(str(body["error"].get("code"))))
            return None
        self.room.measure("WS", f"ack:{name}", took_ns)
        return body

    def enter_losses(self, what: str, counts: Totals) -> None:
        """What the ledger says was lost, misrouted or stale becomes failures in Locust's tables."""
        for name in ("lost", "misrouted", "out_of_order"):
            number = getattr(counts, name)
            if number:
                error = MemberError(f"{what} {name.replace('_', ' ')}")
                self.room.fail("LEDGER", name, error, number)
