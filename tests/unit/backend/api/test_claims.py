"""Claims over REST: posting, finding, paging, repeating with an idempotency key."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.backend.rest_app import Person, World, rest_world

CLAIM = {
    "title": "The earth is round",
    "body": "Seen from above.",
    "evidence_urls": ["https://example.org/a"],
}


async def test_a_posted_claim_is_open_and_empty_keeps_what_was_written_and_is_found_again(
    world: World, anna: Person
) -> None:
    answer = await world.client.post("/api/claims", json=CLAIM, headers=anna.auth)
    body = answer.json()
    assert answer.status_code == 201
    assert (body["status"], body["version"], body["tally"]["total"]) == ("open", 0, 0)
    assert {name: body[name] for name in CLAIM} == CLAIM
    assert body["consensus"] is None
    assert (await world.client.get(answer.headers["location"])).json() == body


async def test_a_claim_without_quorum_gets_the_default(tmp_path: Path) -> None:
    async with rest_world(tmp_path, default_quorum=7) as world:
        anna = await world.person("anna")
        body = (await world.client.post("/api/claims", json=CLAIM, headers=anna.auth)).json()
        assert body["quorum"] == 7


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": "  x  "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": None}, "title"),
        ({"body": "x" * 10_001}, "body"),
        ({"body": "a\x00b"}, "body"),
        ({"quorum": 0}, "quorum"),
        ({"quorum": 100_001}, "quorum"),
        ({"quorum": "3"}, "quorum"),
        ({"quorum": True}, "quorum"),
        ({"quorum": 2.5}, "quorum"),
        ({"evidence_urls": ["javascript:alert(1)"]}, "evidence_urls.0"),
        ({"evidence_urls": ["https://example.org"] * 11}, "evidence_urls"),
        ({"status": "verified"}, "status"),
    ],
)
async def test_bad_claims_name_the_field(
    world: World, anna: Person, change: dict[str, Any], field: str
) -> None:
    answer = await world.client.post("/api/claims", json=CLAIM | change, headers=anna.auth)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_an_unknown_claim_is_not_found(world: World) -> None:
    answer = await world.client.get("/api/claims/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "claim_not_found")


@pytest.mark.parametrize("claim_id", ["%00", "a%20b", "x" * 65, "%C3%A9", "a.b"])
async def test_what_is_no_id_is_refused(world: World, claim_id: str) -> None:
    answer = await world.client.get(f"/api/claims/{claim_id}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "claim_id")


async def test_claims_are_listed_newest_first(world: World, anna: Person) -> None:
    posted = []
    for _ in range(3):
        posted.append(await world.claim(anna))
        world.clock.advance(1)
    listed = (await world.client.get("/api/claims")).json()
    assert [claim["id"] for claim in listed["items"]] == posted[::-1]


async def test_pages_hold_every_claim_once(world: World, anna: Person) -> None:
    posted = {await world.claim(anna) for _ in range(7)}
    seen: list[str] = []
    parameters: dict[str, Any] = {"limit": 3}
    while True:
        page = (await world.client.get("/api/claims", params=parameters)).json()
        seen += [claim["id"] for claim in page["items"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert (len(seen), set(seen)) == (7, posted)


async def test_claims_are_found_by_owner(world: World, anna: Person, bert: Person) -> None:
    await world.claim(anna)
    of_bert = await world.claim(bert)
    listed = (await world.client.get("/api/claims", params={"owner_id": bert.id})).json()
    assert [claim["id"] for claim in listed["items"]] == [of_bert]


async def test_claims_are_found_by_status(world: World, anna: Person) -> None:
    await world.claim(anna)
    settled = await world.claim(anna, quorum=1)
    await world.validate(await world.person("bert"), settled)
    listed = (await world.client.get("/api/claims", params={"status": "verified"})).json()
    assert [claim["id"] for claim in listed["items"]] == [settled]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"status": "settled"}, "status"),
        ({"owner_id": "a b"}, "owner_id"),
        ({"cursor": "x" * 513}, "cursor"),
    ],
)
async def test_bad_list_parameters_name_the_field(
    world: World, parameters: dict[str, Any], field: str
) -> None:
    answer = await world.client.get("/api/claims", params=parameters)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("cursor", ["nonsense", "", "e30", "\x00", "é", "AAAA"])
async def test_an_unknown_cursor_is_refused(world: World, cursor: str) -> None:
    answer = await world.client.get("/api/claims", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def post_with_key(world: World, person: Person, key: str, **change: Any) -> Any:
    return await world.client.post(
        "/api/claims", json=CLAIM | change, headers=person.auth | {"Idempotency-Key": key}
    )


async def test_a_repeated_key_answers_with_the_same_claim_says_so_and_stores_nothing(
    world: World, anna: Person
) -> None:
    first = await post_with_key(world, anna, "k1")
    again = await post_with_key(world, anna, "k1")
    assert (again.status_code, again.json()) == (200, first.json())
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await world.client.get("/api/claims")).json()["items"]) == 1


@pytest.mark.parametrize(
    "change", [{"title": "Another title"}, {"body": "x"}, {"quorum": 9}, {"evidence_urls": []}]
)
async def test_a_key_is_good_for_one_content(world: World, anna: Person, change: dict[str, Any]) -> None:
    await post_with_key(world, anna, "k1")
    answer = await post_with_key(world, anna, "k1", **change)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")


async def test_two_owners_may_use_the_same_key(world: World, anna: Person) -> None:
    await post_with_key(world, anna, "k1")
    answer = await post_with_key(world, await world.person("bert"), "k1")
    assert answer.status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 129, "tab\there", "caf\xe9"], ids=repr)
async def test_bad_keys_are_refused(world: World, anna: Person, key: str) -> None:
    headers = {
        b"authorization": anna.auth["Authorization"].encode(),
        b"idempotency-key": key.encode("latin-1"),
    }
    answer = await world.client.post("/api/claims", json=CLAIM, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
