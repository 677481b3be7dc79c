"""What a socket hears: its own bell whole and in order, counters as asked for, nothing of anybody else."""

import asyncio
import random
from typing import Any

import pytest

from tests.support.backend.node import Node
from tests.support.backend.rest import Account, Rest
from tests.support.backend.sockets import DURABLE, SNAPSHOTS, connected
from tests.support.backend.traffic import NEVER, flowing
from tests.support.waiting import until

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


async def bell_of(rest: Rest, who: Account) -> list[int]:
    """The user's seqs as REST tells them."""
    return [row["seq"] for row in await rest.bell(who)]


async def ring(rest: Rest, owner: Account, count: int) -> str:
    """Put `count` notifications into the owner's bell; the claim they are about."""
    claim_id = await rest.claim(owner, quorum=NEVER)
    for _ in range(count):
        await rest.vouch(await rest.account(), claim_id)
    return claim_id


# ---------------------------------------------------------------- the bell


async def test_every_socket_of_a_user_hears_the_whole_bell(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with (
        connected(shared_node.url, ann, transports=TRANSPORTS[0]) as one,
        connected(shared_node.url, ann, transports=TRANSPORTS[1]) as two,
        connected(shared_node.url, ann, transports=TRANSPORTS[2]) as three,
    ):
        async with flowing(rest, ann) as traffic:
            await traffic.more(60)
        told = await bell_of(rest, ann)
        await until(lambda: all(len(socket.seqs) >= len(told) for socket in (one, two, three)))
        assert [one.seqs, two.seqs, three.seqs] == [told] * 3


async def test_the_typed_event_and_the_notification_are_one_fact(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with connected(shared_node.url, ann) as socket:
        await ring(rest, ann, 3)
        await socket.hear("new_notification", 3)
        typed = [(data["seq"], data["id"]) for data in socket.named("validation_received")]
        noted = [(data["seq"], data["id"]) for data in socket.named("new_notification")]
        assert typed == noted


async def test_all_five_kinds_are_heard(shared_node: Node, rest: Rest) -> None:
    ann, *others = await rest.accounts(4)
    claim_id = await rest.claim(ann)
    async with connected(shared_node.url, ann) as owner, connected(shared_node.url, others[0]) as validator:
        for who in others:
            await rest.vouch(who, claim_id)
        await until(lambda: owner.names >= DURABLE, "all kinds")
        reached = await validator.hear("consensus_reached")
        assert (reached["action"], reached["percentage"]) == ("vouch", 100.0)


async def test_nobody_hears_the_bell_of_another(shared_node: Node, rest: Rest) -> None:
    ann, ben = await rest.accounts(2)
    async with (
        connected(shared_node.url, ann) as socket,
        connected(shared_node.url, ben) as other,
        connected(shared_node.url) as nobody,
    ):
        async with flowing(rest, ann) as traffic:
            await traffic.more(60)
        told = await bell_of(rest, ann)
        await until(lambda: socket.seqs == told)
        await other.settle()
        await nobody.settle()
        assert (other.durable, nobody.names - {"pong", "connection_established"}) == ([], set())


async def test_validators_hear_only_what_is_theirs(shared_node: Node, rest: Rest) -> None:
    ann, *others = await rest.accounts(4)
    claim_id = await rest.claim(ann)
    async with connected(shared_node.url, others[0]) as socket:
        for who in others:
            await rest.vouch(who, claim_id)
        told = await rest.bell(others[0])
        await until(lambda: len(socket.seqs) >= len(told))
        assert [data["id"] for data in socket.named("new_notification")] == [row["id"] for row in told]


# ---------------------------------------------------------------- coming back


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_who_comes_back_gets_what_was_missed(
    shared_node: Node, rest: Rest, transports: list[str]
) -> None:
    ann = await rest.account()
    await ring(rest, ann, 6)
    async with connected(shared_node.url, ann, last_seq=2, transports=transports) as socket:
        await socket.hear("new_notification", 4)
        assert (socket.seqs, socket.named("authenticated")[0]["recovered"]) == ([3, 4, 5, 6], True)


async def test_the_authenticate_event_replays_as_well(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    await ring(rest, ann, 3)
    async with connected(shared_node.url) as socket:
        answer = await socket.ask("authenticate", {"token": ann.token, "last_seq": 1})
        await socket.hear("new_notification", 2)
        assert (socket.seqs, answer["recovered"], answer["last_seq"]) == ([2, 3], True, 3)


async def test_a_position_ahead_of_the_bell_is_told_as_unrecoverable(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with connected(shared_node.url, ann, last_seq=99) as socket:
        assert socket.named("authenticated")[0]["recovered"] is False


async def test_no_gap_and_no_double_between_replay_and_live(shared_node: Node, rest: Rest) -> None:
    ann, rng = await rest.account(), random.Random(7)
    runs: list[tuple[int, list[int]]] = []

    async def visit(number: int) -> None:
        """Come back with some old position, stay for a while, leave."""
        last_seq = rng.randint(0, number * 3)
        transports = TRANSPORTS[number % 3]
        async with connected(shared_node.url, ann, last_seq=last_seq, transports=transports) as socket:
            seen = len(socket.seqs)
            await until(lambda: len(socket.seqs) >= seen + 15)
            runs.append((last_seq, socket.seqs))

    async with flowing(rest, ann, claims=100) as traffic:
        await traffic.more(45)
        await asyncio.gather(*(visit(number) for number in range(15)))
    assert [seqs for _, seqs in runs] == [list(range(last + 1, last + 1 + len(s))) for last, s in runs]


# ---------------------------------------------------------------- sync


async def test_sync_pages_through_the_bell(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    await ring(rest, ann, 7)
    async with connected(shared_node.url, ann) as socket:
        pages, after_seq = [], 0
        while True:
            page = await socket.ask("sync", {"after_seq": after_seq, "limit": 3})
            pages.append([item["seq"] for item in page["items"]])
            after_seq = page["to_seq"]
            if not page["more"]:
                break
        assert pages == [[1, 2, 3], [4, 5, 6], [7]]


async def test_sync_at_the_end_is_empty_and_recovered(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    await ring(rest, ann, 2)
    async with connected(shared_node.url, ann) as socket:
        page = await socket.ask("sync", {"after_seq": 2})
        assert (page["recovered"], page["items"], page["more"], page["last_seq"]) == (True, [], False, 2)


async def test_sync_from_ahead_says_that_it_cannot(shared_node: Node, rest: Rest) -> None:
    async with connected(shared_node.url, await rest.account()) as socket:
        assert (await socket.ask("sync", {"after_seq": 5}))["recovered"] is False


async def test_sync_items_are_the_rows_of_rest(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    await ring(rest, ann, 2)
    async with connected(shared_node.url, ann) as socket:
        items = (await socket.ask("sync", {"after_seq": 0}))["items"]
    told = await rest.bell(ann)
    fields = ("id", "seq", "type", "title", "message", "priority", "data", "read")
    assert [[item[f] for f in fields] for item in items] == [[row[f] for f in fields] for row in told]


# ---------------------------------------------------------------- read state


async def test_reading_one_reaches_the_other_sockets(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    await ring(rest, ann, 2)
    first = (await rest.bell(ann))[0]["id"]
    async with connected(shared_node.url, ann) as socket:
        await rest.post(f"/api/notifications/{first}/read", ann)
        heard = await socket.hear("notification_read")
        assert (heard["ids"], heard["unread_count"]) == ([first], 1)


async def test_reading_all_reaches_the_other_sockets(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    await ring(rest, ann, 3)
    async with connected(shared_node.url, ann) as socket:
        await rest.post("/api/notifications/read-all", ann, {"up_to_seq": 2})
        heard = await socket.hear("notification_read")
        assert (heard["up_to_seq"], heard["unread_count"]) == (2, 1)


async def test_reading_is_nobody_elses_business(shared_node: Node, rest: Rest) -> None:
    ann, ben = await rest.accounts(2)
    await ring(rest, ann, 1)
    async with connected(shared_node.url, ann) as socket, connected(shared_node.url, ben) as other:
        await rest.post("/api/notifications/read-all", ann)
        await socket.hear("notification_read")
        await other.settle()
        assert other.named("notification_read") == []


# ---------------------------------------------------------------- live counters


async def test_by_default_a_user_hears_every_claim(shared_node: Node, rest: Rest) -> None:
    ann, ben = await rest.accounts(2)
    claims = [await rest.claim(ann) for _ in range(3)]
    async with connected(shared_node.url, await rest.account()) as socket:
        for claim_id in claims:
            await rest.vouch(ben, claim_id)
        await until(lambda: all(socket.versions(claim_id) == [1] for claim_id in claims))


async def test_a_narrowed_socket_hears_only_what_it_watches(shared_node: Node, rest: Rest) -> None:
    ann, ben, cid = await rest.accounts(3)
    watched, other = await rest.claim(ann), await rest.claim(ann)
    async with connected(shared_node.url, cid, live="watched") as socket:
        await socket.ask("watch_claim", {"claim_id": watched})
        await rest.vouch(ben, other)
        await rest.vouch(ben, watched)
        await until(lambda: socket.versions(watched) == [1])
        assert socket.versions(other) == []


async def test_watching_a_claim_twice_over_is_heard_once(shared_node: Node, rest: Rest) -> None:
    ann, ben, cid = await rest.accounts(3)
    claim_id = await rest.claim(ann)
    async with connected(shared_node.url, cid) as socket:
        await socket.ask("watch_claim", {"claim_id": claim_id})
        await socket.ask("watch_claim", {"claim_id": claim_id})
        await rest.vouch(ben, claim_id)
        await until(lambda: socket.versions(claim_id))
        await socket.settle()
        assert socket.versions(claim_id) == [1]


async def test_watching_answers_with_the_claim_as_it_stands(shared_node: Node, rest: Rest) -> None:
    ann, ben, cid = await rest.accounts(3)
    claim_id = await rest.claim(ann)
    await rest.vouch(ben, claim_id)
    await rest.vouch(cid, claim_id, "dispute")
    async with connected(shared_node.url, ann, live="watched") as socket:
        answer = await socket.ask("watch_claim", {"claim_id": claim_id})
        shown = {name: answer[name] for name in ("version", "count", "vouch", "dispute", "unsure", "status")}
        assert shown == {
            "version": 2,
            "count": 2,
            "vouch": 50.0,
            "dispute": 50.0,
            "unsure": 0.0,
            "status": "open",
        }


async def test_after_unwatching_nothing_is_heard(shared_node: Node, rest: Rest) -> None:
    ann, ben, cid, dan = await rest.accounts(4)
    claim_id = await rest.claim(ann)
    async with connected(shared_node.url, dan, live="watched") as socket:
        await socket.ask("watch_claim", {"claim_id": claim_id})
        await rest.vouch(ben, claim_id)
        await until(lambda: socket.versions(claim_id) == [1])
        answer = await socket.ask("unwatch_claim", {"claim_id": claim_id})
        await rest.vouch(cid, claim_id)
        await socket.settle()
        assert (answer, socket.versions(claim_id)) == ({}, [1])


async def test_a_claim_that_is_not_cannot_be_watched(shared_node: Node, rest: Rest) -> None:
    async with connected(shared_node.url, await rest.account()) as socket:
        answer = await socket.ask("watch_claim", {"claim_id": "none"})
        assert answer["error"]["code"] == "claim_not_found"


async def test_live_versions_never_go_back_and_end_with_the_newest(shared_node: Node, rest: Rest) -> None:
    ann, cid = await rest.accounts(2)
    claim_id = await rest.claim(ann, quorum=NEVER)
    people = await rest.accounts(40)
    async with (
        connected(shared_node.url, ann) as everything,
        connected(shared_node.url, cid, live="watched") as narrow,
        connected(shared_node.url, cid, live="watched", transports=["polling"]) as polling,
    ):
        sockets = (everything, narrow, polling)
        for socket in sockets:
            await socket.ask("watch_claim", {"claim_id": claim_id})
        await asyncio.gather(*(rest.vouch(who, claim_id) for who in people))
        await until(lambda: all(socket.versions(claim_id)[-1:] == [40] for socket in sockets))
        for socket in sockets:
            versions = socket.versions(claim_id)
            assert versions == sorted(set(versions))


async def test_the_consensus_is_the_last_that_watchers_hear(shared_node: Node, rest: Rest) -> None:
    ann, *others = await rest.accounts(4)
    claim_id = await rest.claim(ann)
    async with connected(shared_node.url, ann) as socket:
        for who in others:
            await rest.vouch(who, claim_id)
        await until(lambda: socket.versions(claim_id, "consensus_update")[-1:] == [3])
        last = socket.named("consensus_update")[-1]
        assert (last["status"], last["vouch"]) == ("verified", 100.0)


# ---------------------------------------------------------------- small talk


async def test_ping_tells_time_and_position(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    await ring(rest, ann, 2)
    async with connected(shared_node.url, ann) as socket:
        answer: Any = await socket.ask("ping")
        heard = await socket.hear("pong")
        assert (answer["last_seq"], heard["last_seq"], heard["server_time_ms"] > 0) == (2, 2, True)


async def test_status_names_the_node_and_the_session(shared_node: Node, rest: Rest) -> None:
    async with connected(shared_node.url, await rest.account()) as socket:
        answer = await socket.ask("get_status")
        assert (answer["node"], answer["session_id"]) == (shared_node.ready["node"], socket.client.get_sid())


async def test_events_carry_the_version_of_the_contract(shared_node: Node, rest: Rest) -> None:
    ann = await rest.account()
    async with connected(shared_node.url, ann) as socket:
        await ring(rest, ann, 1)
        await socket.hear("new_notification")
        await until(lambda: socket.names >= SNAPSHOTS)
        assert {data["v"] for _, data in socket.events} == {1}


async def test_hundreds_of_events_arrive_as_they_were_stored(shared_node: Node, rest: Rest) -> None:
    """The truth of REST, read when all is quiet, is what the socket holds."""
    ann = await rest.account()
    async with connected(shared_node.url, ann) as socket:
        async with flowing(rest, ann, claims=40, validators=10, pause_s=0) as traffic:
            await traffic.more(200)
        told = await rest.bell(ann)
        await until(lambda: len(socket.seqs) >= len(told))
        assert [data["id"] for data in socket.named("new_notification")] == [row["id"] for row in told]
