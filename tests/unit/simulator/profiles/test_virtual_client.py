"""What a client of ours says and concludes, driven event by event without a socket."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from backend.app.contracts.events import CLIENT_EVENTS, SERVER_EVENTS
from simulator.ledger.broadcast_audit import Bounds
from simulator.ledger.disconnects import Disconnects
from simulator.ledger.durable import Truth
from simulator.ledger.ledger import Account, Ledger
from simulator.profiles.base import Stage
from simulator.profiles.vouchstorm.api import Person
from simulator.profiles.vouchstorm.client import TYPED_EVENTS, Shared, VouchstormMember
from simulator.profiles.vouchstorm.fixtures import ClaimRow, claim_row
from simulator.scenario.loader import build

MS = 1_000_000


class FakeClient:
    """Takes down what is emitted; `answer` acknowledges the oldest question of that name."""

    def __init__(self) -> None:
        self.emitted: list[tuple[str, Any]] = []
        self.waiting: list[tuple[str, Callable[[bytes, int], None]]] = []

    def emit(self, name: str, data: Any, ack: Callable[[bytes, int], None] | None = None) -> bool:
        self.emitted.append((name, dict(data)))
        if ack is not None:
            self.waiting.append((name, ack))
        return True

    def answer(self, name: str, body: Any, at_ns: int) -> None:
        for number, (asked, ack) in enumerate(self.waiting):
            if asked == name:
                del self.waiting[number]
                ack(json.dumps(body).encode(), at_ns)
                return
        raise AssertionError(f"nobody asked {name}")


class Rig:
    """One member, its books, and the server's side of the conversation."""

    def __init__(self, scope: str = "all") -> None:
        scenario = build({"clients": 2, "live": {"scope": scope, "watches": 1}})
        self.ledger, self.outages = Ledger(2), Disconnects()
        self.notes: list[str] = []
        nothing: Any = None
        stage = Stage(
            scenario,
            nothing,
            nothing,
            self.ledger,
            self.outages,
            "run",
            None,
            None,
            self.notes.append,
            lambda: 1,
        )
        self.shared = Shared(stage)
        self.claim: ClaimRow = claim_row(
            self.ledger.rooms, self.shared.live_room, {"id": "c1", "version": 0}, 1
        )
        self.shared.claims = {"c1": self.claim}
        watches = (self.claim,) if scope == "watched" else ()
        self.member = VouchstormMember(0, self.shared, Person("ann", "token"), watches, "reauth")
        self.client = FakeClient()
        self.member.client = self.client  # type: ignore[assignment]

    def connect(self, last_seq: int, at_ns: int, **changes: Any) -> dict[str, object]:
        payload = dict(self.member.auth())
        self.member.on_connect(self.member.client, "sid", at_ns)
        self.event("authenticated", {"last_seq": last_seq, "recovered": None, "more": False} | changes, at_ns)
        return payload

    def event(self, name: str, body: Any, at_ns: int) -> None:
        self.member.on_event(self.member.client, name, json.dumps(body).encode(), at_ns)

    def notify(self, seq: int, at_ns: int, type_: str = "system", **data: Any) -> None:
        self.event("new_notification", notification(seq, type_, **data), at_ns)

    def drop(self, at_ns: int) -> None:
        self.member.on_disconnect(self.member.client, "client drop", at_ns)

    def close(self, last_seq: int, closed_ns: int = 10_000 * MS) -> Account:
        truth = {"ann": Truth([(seq, f"id{seq}") for seq in range(1, last_seq + 1)])}
        return self.ledger.close(Bounds(closed_ns, 100 * MS, 5_000 * MS), truth)


def notification(seq: int, type_: str = "system", **data: Any) -> dict[str, Any]:
    return {"id": f"id{seq}", "seq": seq, "type": type_, "data": data}


@pytest.fixture
async def rig() -> Rig:
    return Rig()


def test_the_event_names_are_those_of_the_contract() -> None:
    used = {"validation_count_update", "consensus_update", "new_notification", "authenticated", "pong"}
    assert used | TYPED_EVENTS <= SERVER_EVENTS.keys()
    assert {"watch_claim", "sync", "ping"} <= CLIENT_EVENTS.keys()


async def test_the_first_connection_names_no_cursor(rig: Rig) -> None:
    assert rig.connect(4, MS) == {"token": "token", "live": "all"}


async def test_the_next_one_names_the_seq_up_to_which_nothing_is_missing(rig: Rig) -> None:
    rig.connect(4, MS)
    rig.notify(5, 2 * MS)
    rig.notify(7, 3 * MS)
    rig.drop(4 * MS)
    assert rig.member.auth()["last_seq"] == 5


async def test_a_client_is_ready_once_authenticated(rig: Rig) -> None:
    rig.connect(0, MS)
    assert rig.member.here


async def test_a_watching_client_is_ready_once_its_watches_are_answered() -> None:
    rig = Rig("watched")
    rig.connect(0, MS)
    assert not rig.member.here
    rig.client.answer("watch_claim", {"claim_id": "c1", "version": 0}, 2 * MS)
    assert rig.member.here


async def test_a_replayed_notification_is_told_from_a_live_one(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.drop(2 * MS)
    rig.connect(1, 10 * MS, recovered=True)
    rig.notify(1, 11 * MS)
    rig.notify(2, 12 * MS)
    tally = rig.close(2).total
    assert (tally.replayed, tally.live) == (1, 1)


async def test_a_typed_event_and_its_notification_count_once(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.event("badge_earned", {"id": "id1", "seq": 1, "badge_name": "x", "badge_id": "x"}, 2 * MS)
    rig.notify(1, 2 * MS, "badge_earned", badge_id="x")
    tally = rig.close(1).total
    assert (tally.live, tally.duplicate) == (1, 0)


async def test_an_outage_ends_when_the_replay_is_complete(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.drop(2 * MS)
    rig.connect(2, 10 * MS, recovered=True)
    rig.notify(1, 11 * MS)
    assert rig.outages.open
    rig.notify(2, 12 * MS)
    assert rig.outages.all[0].caught_up_ns == 12 * MS


async def test_a_gap_that_stands_is_asked_for(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.notify(2, 2 * MS)
    rig.member._gap_stands(0)
    assert rig.client.emitted[-1] == ("sync", {"after_seq": 0, "limit": 200})
    rig.client.answer("sync", {"recovered": True, "items": [notification(1)], "more": False}, 3 * MS)
    tally = rig.close(2).total
    assert (tally.live, tally.replayed, tally.lost) == (1, 1, 0)


async def test_a_gap_that_is_closing_is_not_asked_for(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.drop(2 * MS)
    rig.connect(3, 3 * MS, recovered=True)
    rig.notify(1, 4 * MS)
    rig.member._gap_stands(0)
    assert "sync" not in [name for name, _ in rig.client.emitted]
    rig.member.lost(5 * MS)


async def test_more_is_asked_for_until_there_is_no_more(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.event("pong", {"server_time_ms": 1, "last_seq": 2}, 2 * MS)
    rig.client.answer("sync", {"recovered": True, "items": [notification(1)], "more": True}, 3 * MS)
    assert rig.client.emitted[-1] == ("sync", {"after_seq": 1, "limit": 200})


async def test_a_pong_that_names_nothing_new_asks_nothing(rig: Rig) -> None:
    rig.connect(3, MS)
    rig.event("pong", {"server_time_ms": 1, "last_seq": 3}, 2 * MS)
    assert rig.client.emitted == []


async def test_a_missing_notification_that_is_never_healed_is_lost(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.notify(1, 2 * MS)
    assert list(rig.close(2).holes) == [0]


async def test_live_counts_are_owed_from_the_authentication_on(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.claim.stream.row(1).published(2 * MS, 2 * MS, 3 * MS, measured=True)
    rig.event("validation_count_update", {"claim_id": "c1", "count": 1, "version": 1}, 4 * MS)
    assert rig.close(0).total.live == 1


async def test_an_unknown_claim_is_nobodys_business(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.event("validation_count_update", {"claim_id": "other", "count": 1, "version": 1}, 4 * MS)
    tally = rig.close(0).total
    assert (tally.unowed, tally.expected) == (1, 0)


async def test_shares_that_go_back_are_a_violation(rig: Rig) -> None:
    rig.connect(0, MS)
    for version in (2, 1):
        shares = {"claim_id": "c1", "vouch": 100.0, "dispute": 0.0, "unsure": 0.0, "version": version}
        rig.event("consensus_update", shares, 2 * MS)
    assert rig.shared.seen.violation_count == 1


async def test_shares_that_do_not_sum_to_a_hundred_are_a_violation(rig: Rig) -> None:
    rig.connect(0, MS)
    shares = {"claim_id": "c1", "vouch": 99.0, "dispute": 0.0, "unsure": 0.0, "version": 1}
    rig.event("consensus_update", shares, 2 * MS)
    assert rig.shared.seen.violation_count == 1


async def test_a_watch_answered_with_an_old_version_is_a_violation() -> None:
    rig = Rig("watched")
    rig.claim.answered_version = 5
    rig.connect(0, MS)
    rig.client.answer("watch_claim", {"claim_id": "c1", "version": 4}, 2 * MS)
    assert rig.shared.seen.violation_count == 1


async def test_watching_again_catches_the_counter_up() -> None:
    rig = Rig("watched")
    rig.connect(0, MS)
    rig.client.answer("watch_claim", {"claim_id": "c1", "version": 0}, 2 * MS)
    rig.claim.stream.row(1).published(3 * MS, 3 * MS, 4 * MS, measured=True)
    rig.drop(3 * MS + 1)
    rig.connect(0, 10 * MS)
    rig.client.answer("watch_claim", {"claim_id": "c1", "version": 1}, 11 * MS)
    tally = rig.close(0).total
    assert (tally.replayed, tally.lost, tally.unverified) == (1, 0, 0)


async def test_a_refused_question_is_noted(rig: Rig) -> None:
    rig.connect(0, MS)
    rig.event("pong", {"server_time_ms": 1, "last_seq": 1}, 2 * MS)
    rig.client.answer("sync", {"error": {"code": "rate_limited", "message": "Slow down."}}, 3 * MS)
    assert rig.notes == ["The server refused a question of a client: Slow down."]
