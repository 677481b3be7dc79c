"""The Locust users: validators answer claims, bells wait for notifications, watchers see counts move.

A push is measured from the moment at which the validator was due to publish until a bell or watcher received
it, in whichever process and on whichever machine that is. Bells and watchers keep a ledger each, and enter
what they should have received and did not as failures. Import or subclass them in a locustfile of your own.
"""

import time
from typing import Any

import gevent
import orjson
from locust import between, task
from locust.env import Environment

from simulator.profiles.vouchstorm import personas

from .base_user import Member, SocketMember
from .latency import consensus_key, notification_key, version_key
from .ledger import BellLedger, WatchLedger
from .shared_state import count

SYNC_LIMIT = 500
MAX_PAGES = 20
GAP_S = 0.1
SETTLE_S = 3.0
SETTLE_STEP_S = 0.2


class BellUser(SocketMember):
    """Owns claims and hears what becomes of them: notifications without a hole, across reconnects."""

    weight = 4
    wait_time = between(4, 12)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.ledger = BellLedger()
        self.replay_to = 0
        self.claim_id: str | None = None
        self._closing_gap: Any = None
        self._dropping: Any = None
        self._closed = False

    def on_start(self) -> None:
        """Connect, then post a claim that others answer."""
        super().on_start()
        self.claim_id = self.post_claim()
        if self.room.options.drop_every_s:
            self._dropping = gevent.spawn(self._drop_now_and_then, self.room.options.drop_every_s)

    # -------------------------------------------------------------- what a person at a bell does

    @task(3)
    def keep_alive(self) -> None:
        """Ask whether anything is new; the answer also tells the newest seq."""
        body = self.call("ping", {})
        if body and body["last_seq"] is not None and body["last_seq"] > self.ledger.highest:
            self._mind_gap()

    @task(2)
    def renew_claim(self) -> None:
        """Post another claim once the last one is settled."""
        if self.claim_id is None or not self.room.claims.is_open(self.claim_id):
            self.claim_id = self.post_claim()

    @task(1)
    def read_all(self) -> None:
        """Open the bell and mark everything read."""
        self.ask("GET", "/api/notifications?limit=5", name="/api/notifications")
        self.ask("POST", "/api/notifications/read-all", json={})

    def _drop_now_and_then(self, mean_s: float) -> None:
        while True:
            gevent.sleep(self.rng.expovariate(1 / mean_s))
            self.drop()

    # -------------------------------------------------------------- events

    def cursor(self) -> int | None:
        """Where this bell stands."""
        return self.ledger.cursor

    def greeted(self, body: Any, at_ns: int) -> None:
        """In the room: what has a higher seq comes live, the others are replayed."""
        self.ledger.begin(body["last_seq"])
        self.replay_to = body["last_seq"]

    def heard(self, name: str, args: bytes, at_ns: int) -> None:
        """Of the two events of one fact, `new_notification` counts."""
        if name != "new_notification":
            return
        body = orjson.loads(args)
        seq = body["seq"]
        live = seq > self.replay_to
        if self.ledger.push(seq, body["id"], live=live) and live:
            self._time_push(body, at_ns)
        if self.ledger.behind:
            self._mind_gap()
        elif self.ledger.floor >= self.replay_to:
            self.caught_up.set()

    def _time_push(self, body: Any, at_ns: int) -> None:
        data = body["data"]
        if body["type"] == "validation_received":
            self.room.book.row("new_notification", notification_key(data["validation_id"])).receive(at_ns)
        elif body["type"] == "consensus_reached":
            self.room.book.row("new_notification", consensus_key(data["claim_id"])).receive(at_ns)
            self.room.claims.settle(data["claim_id"])

    # -------------------------------------------------------------- catching up

    def catch_up(self, body: Any) -> None:
        """After a return: wait for the replay, ask for the rest, or read anew if there is no replay."""
        recovered = body["recovered"]
        self.room.recoveries["full"] += recovered is True
        if recovered is False:
            self.room.recoveries["reloaded"] += 1
            self._reload()
        elif body["more"]:
            self._mind_gap()
        if self.ledger.floor >= self.replay_to:
            self.caught_up.set()

    def _mind_gap(self) -> None:
        if self._closing_gap is None or self._closing_gap.dead:
            self._closing_gap = gevent.spawn(self._close_gap)

    def _close_gap(self) -> None:
        """A gap that does not close by itself in a moment is asked for."""
        floor = self.ledger.floor
        gevent.sleep(GAP_S)
        if self.ledger.floor != floor and not self.ledger.behind:
            return
        for _ in range(MAX_PAGES):
            body = self.call("sync", {"after_seq": self.ledger.floor, "limit": SYNC_LIMIT})
            if body is None or not body["recovered"]:
                break
            for item in body["items"]:
                self._fill(item["seq"], item["id"])
            if not body["more"]:
                break
        if self.ledger.floor >= self.replay_to:
            self.caught_up.set()

    def _reload(self) -> None:
        for _ in range(MAX_PAGES):
            path = f"/api/notifications?after_seq={self.ledger.floor}&limit=100"
            page = self.ask("GET", path, name="/api/notifications?after_seq")
            for item in (page or {"items": []})["items"]:
                self._fill(item["seq"], item["id"])
            if page is None or not page["more"]:
                return

    def _fill(self, seq: int, row_id: str) -> None:
        if not self.ledger.holds(seq):
            self.ledger.push(seq, row_id, live=False)

    # -------------------------------------------------------------- the end

    def settle(self) -> None:
        """Wait for what is under way, then compare with what the server has."""
        for greenlet in (self._closing_gap, self._dropping):
            if greenlet is not None:
                greenlet.kill()
        try:
            self._compare()
        finally:
            self._close(None, self.ledger.highest, 0)

    def _compare(self) -> None:
        until_s = time.monotonic() + SETTLE_S
        while True:
            asked_at = self.ledger.highest
            truth, last_seq = self._truth()
            if truth is None or not self.ledger.missing(last_seq) or time.monotonic() > until_s:
                self._close(truth, last_seq, asked_at)
                return
            gevent.sleep(SETTLE_STEP_S)

    def _truth(self) -> tuple[list[tuple[int, str]] | None, int]:
        """(seq, id) of what the server has since this bell began, and its newest seq; None: it cannot say."""
        rows: list[tuple[int, str]] = []
        after_seq = self.ledger.base
        if after_seq is None:
            return None, self.ledger.highest
        for _ in range(MAX_PAGES):
            body = self.call("sync", {"after_seq": after_seq, "limit": SYNC_LIMIT})
            if body is None or not body["recovered"]:
                return None, self.ledger.highest
            rows += [(item["seq"], item["id"]) for item in body["items"]]
            if not body["more"]:
                return rows, body["last_seq"]
            after_seq = body["to_seq"]
        return rows, rows[-1][0]

    def _close(self, truth: list[tuple[int, str]] | None, last_seq: int, asked_at: int) -> None:
        if self._closed:
            return
        self._closed = True
        counts = self.ledger.close(truth, last_seq, asked_at)
        self.room.totals["durable"].add(counts)
        self.room.recoveries["silent_holes"] += counts.lost > 0
        self.enter_losses("notification", counts)


LEGITIMATE = frozenset(("claim_settled", "already_validated", "own_claim"))
LATE_NS = 100_000_000
BROWSE_EVERY_S = 3.0


class ValidatorUser(Member):
    """Answers claims on an open schedule: due times do not wait for answers, latencies count from them."""

    weight = 2

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.persona = self.rng.choices(personas.EVERYDAY, (8, 1, 1))[0]
        self.answered: set[str] = set()
        self.due_ns = 0
        self.free_ns = 0
        self.browsed_ns = 0

    def on_start(self) -> None:
        """Become somebody, and begin at a moment of one's own."""
        super().on_start()
        self.due_ns = time.monotonic_ns()
        self.wait()  # type: ignore[no-untyped-call]  # Locust's own, which can be interrupted

    def wait_time(self) -> float:
        """Seconds until the next answer is due: Poisson, from the last due time and not from now."""
        self.due_ns += int(self.rng.expovariate(1 / self.room.options.think_s) * 1e9)
        return max(0.0, (self.due_ns - time.monotonic_ns()) / 1e9)

    @task
    def validate(self) -> None:
        """Answer one claim."""
        claim_id = self._choose()
        if claim_id is None:
            self.post_claim()
            return
        self.answered.add(claim_id)
        truth = personas.truth_of_claim(self.rng)
        self._post(claim_id, personas.answer(self.persona, truth, self.rng))

    def _choose(self) -> str | None:
        now_ns = time.monotonic_ns()
        if not len(self.room.claims):
            self._browse()
        elif now_ns - self.browsed_ns > BROWSE_EVERY_S * 1e9:
            self.browsed_ns = now_ns
            gevent.spawn(self._browse)  # beside the answer: that one is due now
        return self.room.claims.pick(self.rng, self.person.user_id, self.answered)

    def _browse(self) -> None:
        """Look what is open: claims of other processes are found this way."""
        page = self.ask("GET", "/api/claims?status=open&limit=100", name="/api/claims")
        self.room.claims.learn((row["id"], row["owner_id"]) for row in (page or {"items": []})["items"])

    def _post(self, claim_id: str, action: str) -> None:
        room, due_ns, sent_ns = self.room, self.due_ns, time.monotonic_ns()
        room.publishes["scheduled"] += 1
        # Late is what this process is to blame for: not a server that still had the last answer in hand.
        room.publishes["late"] += sent_ns - max(due_ns, self.free_ns) > LATE_NS
        with self.client.post(
            f"/api/claims/{claim_id}/validations",
            name="POST /api/claims/[id]/validations",
            headers=self.headers() | {"Idempotency-Key": f"{self.person.user_id}-{claim_id}"},
            json={"action": action},
            catch_response=True,
        ) as response:
            self.free_ns = time.monotonic_ns()
            room.publishes["sent"] += 1
            body = _load(response.content)
            if response.status_code in (200, 201):
                response.success()
                room.time_of("http", self.free_ns - sent_ns)
                self._accepted(body, due_ns)
            elif response.status_code == 409 and body.get("code") in LEGITIMATE:
                response.success()
                self._refused(claim_id, body["code"])
            else:
                reason = f"{response.status_code} {body.get('code', '')}".strip()
                response.failure(reason)
                room.publishes["failed"] += 1
                count(room.failures, reason)

    def _accepted(self, body: Any, due_ns: int) -> None:
        room, validation, claim = self.room, body["validation"], body["claim"]
        room.publishes["accepted"] += 1
        claim_id, version = claim["id"], validation["version"]
        stamps = [(notification_key(validation["id"]), due_ns), (version_key(claim_id, version), due_ns)]
        if claim["status"] != "open":
            room.claims.settle(claim_id)
            if claim["version"] == version:
                stamps.append((consensus_key(claim_id), due_ns))
        room.book.publish(stamps)

    def _refused(self, claim_id: str, code: str) -> None:
        self.room.publishes["refused"] += 1
        count(self.room.refusals, code)
        if code == "claim_settled":
            self.room.claims.settle(claim_id)


def _load(content: Any) -> dict[str, Any]:
    try:
        body = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


WATCHED = 3


class WatcherUser(SocketMember):
    """Follows the live counts, and looks at claims."""

    weight = 4
    wait_time = between(2, 8)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.live = self.room.options.live
        self.ledger = WatchLedger()
        self.watched: list[str] = []
        self._closed = False

    @task(3)
    def watch(self) -> None:
        """Open the page of a claim: watch it, and let go of the one watched longest."""
        claim_id = self.room.claims.any(self.rng)
        if claim_id is None or claim_id in self.watched:
            return
        body = self.call("watch_claim", {"claim_id": claim_id})
        if body is None:
            return
        self.watched.append(claim_id)
        self.ledger.told(claim_id, body["version"])
        if len(self.watched) > WATCHED:
            self.call("unwatch_claim", {"claim_id": self.watched.pop(0)})

    @task(1)
    def look(self) -> None:
        """Read a claim over REST."""
        claim_id = self.room.claims.any(self.rng)
        if claim_id is not None:
            self.ask("GET", f"/api/claims/{claim_id}", name="/api/claims/[id]")

    @task(1)
    def ask_status(self) -> None:
        """Ask who is here."""
        self.call("get_status", {})

    def greeted(self, body: Any, at_ns: int) -> None:
        """In the room from here on."""
        self.ledger.begin(at_ns)
        self.watched.clear()

    def heard(self, name: str, args: bytes, at_ns: int) -> None:
        """Hot path: the same bytes go to every watcher, and are taken apart once."""
        if name == "validation_count_update":
            event = self.room.book.live(name, args)
            self.ledger.see(event.claim_id, event.version)
            event.row.receive(at_ns)
        elif name == "consensus_update":
            self.room.book.live(name, args).row.receive(at_ns)

    def settle(self) -> None:
        """Wait until every count stands where the newest validation put it."""
        book, before_ns = self.room.book, time.monotonic_ns()
        until_s = time.monotonic() + SETTLE_S
        try:
            while self._owed(before_ns) and time.monotonic() < until_s:
                gevent.sleep(SETTLE_STEP_S)
            self._close(book.newest_versions, before_ns)
        finally:
            self._close({}, before_ns)

    def _owed(self, before_ns: int) -> bool:
        return self.live == "all" and bool(self.ledger.behind(self.room.book.newest_versions, before_ns))

    def _close(self, newest: dict[str, tuple[str, int]], before_ns: int) -> None:
        if self._closed:
            return
        self._closed = True
        counts = self.ledger.close(newest if self.sock is not None and self.live == "all" else {}, before_ns)
        self.room.totals["snapshot"].add(counts)
        self.enter_losses("live count", counts)


__all__ = ["BellUser", "ValidatorUser", "WatcherUser"]
