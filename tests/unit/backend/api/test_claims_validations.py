"""Validations over REST: accepted, refused, repeated, listed."""

from typing import Any

import httpx
import pytest

from tests.support.backend.rest_app import Person, World


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
