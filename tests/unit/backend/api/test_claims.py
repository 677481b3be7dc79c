"""Claims and validations over REST: posted, found, paged, refused, repeated with an idempotency key."""

from pathlib import Path
from typing import Any

import httpx
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


# ---------------------------------------------------------------- validations


async def post(
    world: World, who: Person, claim_id: str, body: dict[str, Any], key: str | None = None
) -> httpx.Response:
    headers = who.auth if key is None else who.auth | {"Idempotency-Key": key}
    return await world.client.post(f"/api/claims/{claim_id}/validations", json=body, headers=headers)


async def test_a_validation_answers_with_the_row_and_the_claim_after_it(
    world: World, anna: Person, bert: Person
) -> None:
    answer = await post(world, bert, await world.claim(anna), {"action": "dispute", "comment": "No."})
    body = answer.json()
    assert answer.status_code == 201
    assert (body["validation"]["comment"], body["validation"]["version"]) == ("No.", 1)
    assert (body["claim"]["tally"]["dispute"], body["claim"]["version"]) == (1, 1)


async def test_the_last_validation_answers_with_the_settled_claim(
    world: World, anna: Person, bert: Person
) -> None:
    answer = await world.validate(bert, await world.claim(anna, quorum=1))
    claim = answer.json()["claim"]
    assert (claim["status"], claim["consensus"]) == ("verified", {"action": "vouch", "percentage": 100.0})


async def test_the_live_percentages_are_those_of_the_claim(world: World, anna: Person, bert: Person) -> None:
    claim_id = await world.claim(anna)
    await world.validate(bert, claim_id)
    await world.validate(await world.person("carl"), claim_id, "dispute")
    claim = (await world.client.get(f"/api/claims/{claim_id}")).json()
    assert claim["percentages"] == {"vouch": 50.0, "dispute": 50.0, "unsure": 0.0}


async def test_ones_own_claim_cannot_be_validated(world: World, anna: Person) -> None:
    answer = await world.validate(anna, await world.claim(anna))
    assert (answer.status_code, answer.json()["code"]) == (409, "own_claim")


async def test_a_second_validation_is_refused(world: World, anna: Person, bert: Person) -> None:
    claim_id = await world.claim(anna)
    await world.validate(bert, claim_id)
    answer = await world.validate(bert, claim_id, "dispute")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_validated")


async def test_a_settled_claim_cannot_be_validated(world: World, anna: Person, bert: Person) -> None:
    claim_id = await world.claim(anna, quorum=1)
    await world.validate(bert, claim_id)
    answer = await world.validate(await world.person("carl"), claim_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "claim_settled")


async def test_a_refused_validation_changes_nothing(world: World, anna: Person) -> None:
    claim_id = await world.claim(anna)
    await world.validate(anna, claim_id)
    claim = (await world.client.get(f"/api/claims/{claim_id}")).json()
    assert (claim["version"], claim["tally"]["total"]) == (0, 0)


async def test_an_unknown_claim_cannot_be_validated(world: World, bert: Person) -> None:
    answer = await world.validate(bert, "nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "claim_not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "like"}, "action"),
        ({}, "action"),
        ({"action": "vouch", "comment": "x" * 1001}, "comment"),
        ({"action": "vouch", "weight": 100}, "weight"),
    ],
)
async def test_bad_validations_name_the_field(
    world: World, anna: Person, bert: Person, body: dict[str, Any], field: str
) -> None:
    answer = await post(world, bert, await world.claim(anna), body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_repeated_key_answers_with_the_same_validation(
    world: World, anna: Person, bert: Person
) -> None:
    claim_id = await world.claim(anna)
    first = await post(world, bert, claim_id, {"action": "vouch"}, "k1")
    again = await post(world, bert, claim_id, {"action": "vouch"}, "k1")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.json()["validation"] == first.json()["validation"]


async def test_a_repeated_key_works_after_the_claim_was_settled(
    world: World, anna: Person, bert: Person
) -> None:
    claim_id = await world.claim(anna, quorum=1)
    await post(world, bert, claim_id, {"action": "vouch"}, "k1")
    again = await post(world, bert, claim_id, {"action": "vouch"}, "k1")
    assert (again.status_code, again.json()["claim"]["status"]) == (200, "verified")


async def test_a_key_is_good_for_one_validation(world: World, anna: Person, bert: Person) -> None:
    claim_id = await world.claim(anna)
    await post(world, bert, claim_id, {"action": "vouch"}, "k1")
    answer = await post(world, bert, claim_id, {"action": "dispute"}, "k1")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")


async def test_validations_are_listed_as_they_were_accepted(world: World, anna: Person, bert: Person) -> None:
    claim_id = await world.claim(anna)
    carl = await world.person("carl")
    for person in (bert, carl):
        await world.validate(person, claim_id)
    listed = (await world.client.get(f"/api/claims/{claim_id}/validations")).json()
    assert [row["user_id"] for row in listed["items"]] == [bert.id, carl.id]


async def test_validations_are_paged(world: World, anna: Person, bert: Person) -> None:
    claim_id = await world.claim(anna)
    await world.validate(bert, claim_id)
    await world.validate(await world.person("carl"), claim_id)
    path = f"/api/claims/{claim_id}/validations"
    first = (await world.client.get(path, params={"limit": 1})).json()
    second = (await world.client.get(path, params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert [row["version"] for row in first["items"] + second["items"]] == [1, 2]


async def test_validations_of_an_unknown_claim_are_not_found(world: World) -> None:
    answer = await world.client.get("/api/claims/nothing/validations")
    assert (answer.status_code, answer.json()["code"]) == (404, "claim_not_found")


async def test_a_wrong_cursor_is_refused(world: World, anna: Person) -> None:
    path = f"/api/claims/{await world.claim(anna)}/validations"
    answer = await world.client.get(path, params={"cursor": "nonsense"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def test_the_owner_is_told_at_once(world: World, anna: Person, bert: Person) -> None:
    await world.validate(bert, await world.claim(anna))
    assert f"user:{anna.id}" in {push.room for push in world.emitter.pushes}
