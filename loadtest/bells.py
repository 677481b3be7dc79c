"""`BellUser`: owns claims and waits for its notifications, numbered and without a hole."""

import time
from typing import Any

import gevent
import orjson
from locust import between, task
from locust.env import Environment

from .base_user import SocketMember
from .latency import consensus_key, notification_key
from .ledger import BellLedger

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
