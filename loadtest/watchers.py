"""`WatcherUser`: sees the live counts move, and opens the pages of claims."""

import time
from typing import Any

import gevent
from locust import between, task
from locust.env import Environment

from .base_user import SocketMember
from .ledger import WatchLedger

SETTLE_S = 3.0
SETTLE_STEP_S = 0.2
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
