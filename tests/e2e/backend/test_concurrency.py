"""Two hundred people answer one claim at the same moment, over REST."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.support.backend.node import Node
from tests.support.backend.rest import Account, Answer, Rest

PEOPLE = 200


@pytest.fixture(scope="module")
def crowd() -> list[Account]:
    """Filled by the first test that needs it; tokens outlive the event loop of one test."""
    return []


@pytest.fixture
async def crowded(shared_node: Node, crowd: list[Account]) -> AsyncIterator[tuple[Rest, list[Account]]]:
    async with Rest(shared_node.url, connections=PEOPLE) as rest:
        if not crowd:
            crowd += await asyncio.gather(*(rest.account() for _ in range(PEOPLE)))
        yield rest, crowd


async def all_at_once(rest: Rest, people: list[Account], claim_id: str) -> list[Answer]:
    return await asyncio.gather(*(rest.validate(who, claim_id) for who in people))


def outcomes(answers: list[Answer]) -> Counter[str]:
    return Counter("201" if a.status_code == 201 else f"{a.status_code} {a.json()['code']}" for a in answers)


async def consensus_notes(node: Node, people: list[Account], claim_id: str) -> list[int]:
    """How often each of them was told about this consensus."""
    counts = []
    async with Rest(node.url, connections=1) as rest:
        for who in people:
            told = [row["data"] for row in await rest.bell(who) if row["type"] == "consensus_reached"]
            counts.append(sum(data["claim_id"] == claim_id for data in told))
    return counts


async def test_a_quorum_of_all_takes_all(shared_node: Node, crowded: tuple[Rest, list[Account]]) -> None:
    rest, people = crowded
    owner = await rest.account()
    claim_id = await rest.claim(owner, quorum=PEOPLE)
    answers = await all_at_once(rest, people, claim_id)
    claim = await rest.claim_now(claim_id)
    versions = sorted(answer.json()["validation"]["version"] for answer in answers)
    assert outcomes(answers) == {"201": PEOPLE}
    assert versions == list(range(1, PEOPLE + 1))
    assert (claim["tally"]["total"], claim["version"], claim["status"]) == (PEOPLE, PEOPLE, "verified")
    assert await consensus_notes(shared_node, [owner, *people], claim_id) == [1] * (PEOPLE + 1)


async def test_a_small_quorum_settles_once_and_the_rest_are_told_so(
    shared_node: Node, crowded: tuple[Rest, list[Account]]
) -> None:
    rest, people = crowded
    owner = await rest.account()
    claim_id = await rest.claim(owner, quorum=3)
    answers = await all_at_once(rest, people, claim_id)
    claim = await rest.claim_now(claim_id)
    counted = outcomes(answers)
    accepted = [who for who, answer in zip(people, answers, strict=True) if answer.status_code == 201]
    assert counted == {"201": 3, "409 claim_settled": PEOPLE - 3}
    assert (claim["tally"]["total"], claim["version"], claim["status"]) == (3, 3, "verified")
    assert set(await consensus_notes(shared_node, [owner, *accepted], claim_id)) == {1}


async def test_the_same_person_many_times_at_once_is_counted_once(
    crowded: tuple[Rest, list[Account]],
) -> None:
    rest, people = crowded
    claim_id = await rest.claim(await rest.account(), quorum=PEOPLE)
    answers = await all_at_once(rest, people[:1] * 50, claim_id)
    assert outcomes(answers) == {"201": 1, "409 already_validated": 49}


async def test_the_same_request_many_times_at_once_answers_the_same(
    crowded: tuple[Rest, list[Account]],
) -> None:
    rest, people = crowded
    claim_id = await rest.claim(await rest.account(), quorum=PEOPLE)
    answers = await asyncio.gather(
        *(rest.validate(people[0], claim_id, Idempotency_Key="once") for _ in range(30))
    )
    assert {answer.json()["validation"]["id"] for answer in answers} == {
        answers[0].json()["validation"]["id"]
    }
    assert (await rest.claim_now(claim_id))["tally"]["total"] == 1


async def test_nobody_answers_their_own_claim(crowded: tuple[Rest, list[Account]]) -> None:
    rest, people = crowded
    claim_id = await rest.claim(people[0])
    answers = await all_at_once(rest, people[:1] * 5, claim_id)
    assert outcomes(answers) == {"409 own_claim": 5}


async def test_a_repeat_is_told_apart_from_a_settled_claim(crowded: tuple[Rest, list[Account]]) -> None:
    rest, people = crowded
    claim_id = await rest.claim(await rest.account(), quorum=2)
    await rest.vouch(people[0], claim_id)
    repeat = await rest.validate(people[0], claim_id)
    await rest.vouch(people[1], claim_id)
    late = await rest.validate(people[2], claim_id)
    assert (repeat.json()["code"], late.json()["code"]) == ("already_validated", "claim_settled")


async def test_the_validations_of_a_claim_are_its_tally(crowded: tuple[Rest, list[Account]]) -> None:
    rest, people = crowded
    claim_id = await rest.claim(await rest.account(), quorum=PEOPLE)
    await all_at_once(rest, people[:150], claim_id)
    rows, cursor = [], None
    while True:
        query = {"limit": 40} | ({"cursor": cursor} if cursor else {})
        page = await rest.get(f"/api/claims/{claim_id}/validations", people[0], **query)
        rows += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [row["version"] for row in rows] == list(range(1, 151))
