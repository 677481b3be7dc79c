"""Users, leaderboard and badges over REST."""

from dataclasses import replace

import pytest

from backend.app.api.serializers import badge_view
from backend.app.contracts.types import UserId
from backend.app.domain.badges import CATALOG
from backend.app.domain.records import EarnedBadge, Progress, User
from tests.support.backend.rest_app import Person, World


async def seed(world: World, scores: list[int]) -> None:
    users = [
        User(UserId(f"u{n}"), f"user{n}", f"User {n}", world.clock.now(), Progress(trust_score=score))
        for n, score in enumerate(scores)
    ]
    await world.services.store.users.create_users(users, "!")


async def test_a_user_is_shown_to_everybody_without_what_is_private(world: World, anna: Person) -> None:
    body = (await world.client.get(f"/api/users/{anna.id}")).json()
    assert (body["username"], body["trust_score"], body["badges"]) == ("anna", 50, [])
    assert not {"last_seq", "unread_count", "password_hash"} & set(body)


async def test_an_unknown_user_is_not_found(world: World) -> None:
    answer = await world.client.get("/api/users/nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")


async def test_the_most_trusted_lead(world: World) -> None:
    await seed(world, [10, 90, 50])
    items = (await world.client.get("/api/leaderboard")).json()["items"]
    assert [(item["rank"], item["user"]["trust_score"]) for item in items] == [(1, 90), (2, 50), (3, 10)]


async def test_ranks_go_on_over_pages(world: World) -> None:
    await seed(world, [50, 40, 30, 20, 10])
    first = (await world.client.get("/api/leaderboard", params={"limit": 2})).json()
    second = (
        await world.client.get("/api/leaderboard", params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()
    assert [(item["rank"], item["user"]["id"]) for item in second["items"]] == [(3, "u2"), (4, "u3")]


async def test_the_last_page_has_no_cursor(world: World) -> None:
    await seed(world, [50, 40])
    body = (await world.client.get("/api/leaderboard", params={"limit": 2})).json()
    assert body["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["", "x", "3", "3.", ".x", "-1.x", "3.x", "²3.x", "9" * 20 + ".x"])
async def test_an_unknown_cursor_is_refused(world: World, cursor: str) -> None:
    answer = await world.client.get("/api/leaderboard", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def test_the_leaderboard_shows_badges(world: World) -> None:
    anna, bert = await world.person("anna"), await world.person("bert")
    await world.validate(bert, await world.claim(anna))
    body = (await world.client.get("/api/leaderboard")).json()
    badges = {item["user"]["username"]: item["user"]["badges"] for item in body["items"]}
    assert [badge["badge_id"] for badge in badges["bert"]] == ["first_validation"]


async def test_the_catalogue_lists_every_badge(world: World) -> None:
    body = (await world.client.get("/api/badges")).json()
    assert [badge["badge_id"] for badge in body["items"]] == [badge.id for badge in CATALOG]


async def test_a_badge_that_left_the_catalogue_keeps_its_id_as_name(world: World) -> None:
    earned = replace(EarnedBadge("first_validation", world.clock.now()), badge_id="retired_badge")
    assert badge_view(earned).badge_name == "retired_badge"
