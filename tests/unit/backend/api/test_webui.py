"""The built web UI: what is served, how it is cached, and that nothing else can be read."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.app.api import webui
from backend.app.settings import Settings
from tests.support.backend.rest_app import SECRET, World, rest_world

INDEX = "<!doctype html><title>Vouchstorm</title>"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    directory = tmp_path / "dist"
    (directory / "assets").mkdir(parents=True)
    (directory / "index.html").write_text(INDEX)
    (directory / "favicon.svg").write_text("<svg/>")
    (directory / "assets" / "index-B4k3d9Zq.js").write_text("export {}")
    (directory / "assets" / "plain.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("secret")
    (directory / "leak.txt").symlink_to(tmp_path / "secret.txt")
    return directory


@pytest.fixture
async def world(tmp_path: Path, built: Path) -> AsyncIterator[World]:
    async with rest_world(tmp_path, static_dir=built) as made:
        yield made


@pytest.fixture
async def unbuilt(tmp_path: Path) -> AsyncIterator[World]:
    async with rest_world(tmp_path, static_dir=tmp_path / "nothing") as made:
        yield made


@pytest.mark.parametrize("path", ["/app/", "/app/claims/c1", "/app/login", "/app/users/u1/", "/app/assets"])
async def test_addresses_of_pages_get_the_index(world: World, path: str) -> None:
    answer = await world.client.get(path)
    assert (answer.status_code, answer.text) == (200, INDEX)


async def test_the_bare_address_leads_to_the_app(world: World) -> None:
    answer = await world.client.get("/app")
    assert (answer.status_code, answer.headers["location"]) == (308, "/app/")


async def test_hashed_assets_are_served_with_their_type_and_immutable(world: World) -> None:
    answer = await world.client.get("/app/assets/index-B4k3d9Zq.js")
    assert (answer.text, answer.headers["content-type"].split(";")[0]) == ("export {}", "text/javascript")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", ["/app/", "/app/claims/c1", "/app/favicon.svg", "/app/assets/plain.js"])
async def test_everything_else_is_asked_for_again(world: World, path: str) -> None:
    assert (await world.client.get(path)).headers["cache-control"] == "no-cache"


async def test_an_unchanged_index_is_not_sent_again(world: World) -> None:
    first = await world.client.get("/app/")
    again = await world.client.get("/app/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/app/missing.js", "/app/assets/index-gone.js", "/app/a/b.css"])
async def test_missing_files_are_not_found(world: World, path: str) -> None:
    answer = await world.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/app/../secret.txt",
        "/app/..%2fsecret.txt",
        "/app/%2e%2e/secret.txt",
        "/app/%2e%2e%2fsecret.txt",
        "/app/assets/..%2f..%2fsecret.txt",
        "/app/..%5csecret.txt",
        "/app/%2fetc/passwd.txt",
        "/app/%2fetc%2fhost.conf",
        "/app/....//secret.txt",
        "/app/leak.txt",
        "/app/x%00.txt",
        "/app/" + "a" * 5000 + ".txt",
    ],
)
async def test_nothing_outside_is_ever_read(world: World, path: str) -> None:
    answer = await world.client.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.txt", "")


@pytest.mark.parametrize("path", ["/app/", "/app/assets/index-B4k3d9Zq.js"])
async def test_the_policy_is_strict(world: World, path: str) -> None:
    policy = (await world.client.get(path)).headers["content-security-policy"]
    assert policy == webui.CONTENT_SECURITY_POLICY
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


async def test_only_the_head_on_demand(world: World) -> None:
    answer = await world.client.head("/app/")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_writing_is_refused(world: World) -> None:
    assert (await world.client.post("/app/")).status_code == 405


async def test_without_a_build_the_page_says_how_to_make_one(unbuilt: World) -> None:
    answer = await unbuilt.client.get("/app/")
    assert answer.status_code == 200
    assert "npm ci &amp;&amp; npm run build" in answer.text


async def test_a_set_directory_is_the_only_one_looked_at(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, jwt_secret=SECRET, static_dir=tmp_path / "nothing")
    assert webui.find_web_ui(settings) is None


async def test_the_packages_own_build_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = (tmp_path / "static", tmp_path / "dist")
    for place in places:
        place.mkdir()
        (place / "index.html").write_text(INDEX)
    monkeypatch.setattr(webui, "_PLACES", places)
    assert webui.find_web_ui(Settings(data_dir=tmp_path, jwt_secret=SECRET)) == tmp_path / "static"
