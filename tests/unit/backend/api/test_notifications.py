"""The bell over REST: pages, counts, reading, and that nobody sees another's."""

from typing import Any

import pytest

from tests.support.backend.rest_app import Person, World


@pytest.fixture
async def anna(world: World) -> Person:
    """Has five notifications."""
    person = await world.person("anna")
    claim_id = await world.claim(person, quorum=100)
    for name in ("bert", "carl", "dora", "emil", "fred"):
        await world.validate(await world.person(name), claim_id)
    return person


async def page(world: World, who: Person, **parameters: Any) -> dict[str, Any]:
    answer = await world.client.get("/api/notifications", params=parameters, headers=who.auth)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def seqs(body: dict[str, Any]) -> list[int]:
    return [item["seq"] for item in body["items"]]


@pytest.mark.parametrize(
    ("parameters", "expected", "more"),
    [
        ({}, [5, 4, 3, 2, 1], False),
        ({"limit": 500}, [5, 4, 3, 2, 1], False),
        ({"limit": 5}, [5, 4, 3, 2, 1], False),
        ({"limit": 4}, [5, 4, 3, 2], True),
        ({"before_seq": 3}, [2, 1], False),
        ({"after_seq": 2, "limit": 2}, [3, 4], True),
        ({"after_seq": 5}, [], False),
    ],
)
async def test_pages_tell_where_the_bell_stands_and_whether_there_is_more(
    world: World, anna: Person, parameters: dict[str, int], expected: list[int], more: bool
) -> None:
    body = await page(world, anna, **parameters)
    assert (seqs(body), body["more"]) == (expected, more)
    assert (body["last_seq"], body["unread_count"]) == (5, 5)


async def test_both_seqs_are_refused(world: World, anna: Person) -> None:
    answer = await world.client.get(
        "/api/notifications", params={"after_seq": 1, "before_seq": 3}, headers=anna.auth
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert answer.json()["detail"] == "Give after_seq or before_seq, not both."


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"after_seq": -1}, "after_seq"),
        ({"before_seq": 2**53}, "before_seq"),
        ({"unread": "perhaps"}, "unread"),
    ],
)
async def test_bad_parameters_name_the_field(
    world: World, anna: Person, parameters: dict[str, Any], field: str
) -> None:
    answer = await world.client.get("/api/notifications", params=parameters, headers=anna.auth)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_the_unread_count(world: World, anna: Person) -> None:
    answer = await world.client.get("/api/notifications/unread-count", headers=anna.auth)
    assert answer.json() == {"unread_count": 5}


async def test_reading_one_lowers_the_count_once(world: World, anna: Person) -> None:
    row = (await page(world, anna))["items"][0]
    for _ in range(2):
        answer = await world.client.post(f"/api/notifications/{row['id']}/read", headers=anna.auth)
        assert answer.json() == {"id": row["id"], "unread_count": 4}
    assert seqs(await page(world, anna, unread=True)) == [4, 3, 2, 1]


async def test_an_unknown_notification_and_anothers_are_not_found(world: World, anna: Person) -> None:
    row = (await page(world, anna))["items"][0]
    other = await world.person("gina")
    for who, id_ in ((anna, "nothing"), (other, row["id"])):
        answer = await world.client.post(f"/api/notifications/{id_}/read", headers=who.auth)
        assert (answer.status_code, answer.json()["code"]) == (404, "notification_not_found")


async def test_anothers_bell_is_not_seen(world: World, anna: Person) -> None:
    assert await page(world, await world.person("gina")) == {
        "items": [],
        "last_seq": 0,
        "unread_count": 0,
        "more": False,
    }


async def test_reading_all(world: World, anna: Person) -> None:
    answer = await world.client.post("/api/notifications/read-all", headers=anna.auth)
    assert answer.json() == {"up_to_seq": 5, "changed": 5, "unread_count": 0}


async def test_reading_all_up_to_a_seq(world: World, anna: Person) -> None:
    answer = await world.client.post("/api/notifications/read-all", json={"up_to_seq": 2}, headers=anna.auth)
    assert answer.json() == {"up_to_seq": 2, "changed": 2, "unread_count": 3}


@pytest.mark.parametrize("value", [-1, "2", 1.5])
async def test_reading_all_up_to_nonsense_is_refused(world: World, anna: Person, value: Any) -> None:
    answer = await world.client.post(
        "/api/notifications/read-all", json={"up_to_seq": value}, headers=anna.auth
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "up_to_seq")


async def test_other_devices_learn_what_was_read(world: World, anna: Person) -> None:
    world.emitter.pushes.clear()
    await world.client.post("/api/notifications/read-all", headers=anna.auth)
    assert [push.room for push in world.emitter.pushes] == [f"user:{anna.id}"]
