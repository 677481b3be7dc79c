"""Changing the key that signs tokens, on running nodes, without logging anybody out."""

from pathlib import Path

import jwt
import pytest

from backend.app.errors import SetupError
from backend.app.services.tokens import key_id
from backend.app.settings import load_settings
from tests.support.backend.node import SECRET, Node
from tests.support.backend.rest import Rest
from tests.support.backend.sockets import connected

NEW = "the-new-secret-of-nodes-under-test-987654321"
OTHER = "another-secret-of-at-least-32-characters"


def node_with(directory: Path, secret: str, retired: str | None = None) -> Node:
    return Node(directory, jwt_secret=secret, jwt_retired_secrets=retired)


async def test_a_token_survives_the_change_of_keys(tmp_path: Path) -> None:
    with node_with(tmp_path, SECRET) as node:
        async with Rest(node.url) as rest:
            ann = await rest.account()
    with node_with(tmp_path, NEW, f"{SECRET}, {OTHER}") as node:
        async with Rest(node.url) as rest, connected(node.url, ann) as socket:
            assert (await rest.get("/api/auth/me", ann))["id"] == ann.id
            again = await rest.login(ann)
            assert jwt.get_unverified_header(again.token)["kid"] == key_id(NEW)
            assert "error" not in await socket.ask("reauth", {"token": again.token})
    with node_with(tmp_path, NEW) as node:
        async with Rest(node.url) as rest:
            assert (await rest.request("GET", "/api/auth/me", ann)).json()["code"] == "invalid_token"
            assert (await rest.get("/api/auth/me", again))["id"] == ann.id


async def test_nodes_understand_each_other_while_the_keys_roll(tmp_path: Path) -> None:
    with node_with(tmp_path, SECRET, NEW) as node:
        async with Rest(node.url) as rest:
            before = await rest.account()
    with node_with(tmp_path, NEW, SECRET) as node:
        async with Rest(node.url) as rest:
            after = await rest.login(before)
    with node_with(tmp_path, SECRET, NEW) as node:
        async with Rest(node.url) as rest:
            assert (await rest.get("/api/auth/me", after))["id"] == before.id


async def test_a_revoked_token_stays_revoked_under_a_retired_key(tmp_path: Path) -> None:
    with node_with(tmp_path, SECRET) as node:
        async with Rest(node.url) as rest:
            ann = await rest.account()
            await rest.post("/api/auth/logout", ann)
    with node_with(tmp_path, NEW, SECRET) as node:
        async with Rest(node.url) as rest:
            assert (await rest.request("GET", "/api/auth/me", ann)).json()["code"] == "token_revoked"


def test_a_short_retired_key_is_refused() -> None:
    with pytest.raises(SetupError, match="VOUCHSTORM_JWT_RETIRED_SECRETS"):
        load_settings(jwt_retired_secrets=f"{OTHER},short")


def test_settings_never_show_their_secrets() -> None:
    settings = load_settings(jwt_secret=NEW, jwt_retired_secrets=OTHER, bus_url="redis://u:hunter22@h")
    shown = f"{settings!r} {settings} {settings.model_dump_json()}"
    assert not [secret for secret in (NEW, OTHER, "hunter22") if secret in shown]
