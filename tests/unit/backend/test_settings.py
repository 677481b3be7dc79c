"""Settings: what is read, what is refused with which words, and where the development secret comes from."""

import os
import secrets
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.app.errors import SetupError
from backend.app.settings import Mode, Settings, load_settings, signing_secret

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VOUCHSTORM_")]:
        monkeypatch.delenv(name)


def test_nothing_needs_to_be_set() -> None:
    assert load_settings().mode is Mode.DEVELOPMENT


@pytest.mark.parametrize(
    ("given", "quorum"), [({}, 7), ({"default_quorum": None}, 7), ({"default_quorum": 9}, 9)]
)
def test_the_environment_is_read_unless_the_caller_names_a_value(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, int | None], quorum: int
) -> None:
    monkeypatch.setenv("VOUCHSTORM_DEFAULT_QUORUM", "7")
    assert load_settings(**given).default_quorum == quorum


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings().default_quorum = 4  # type: ignore[misc]


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOUCHSTORM_CORS_ORIGINS", "https://a.example/, https://b.example ,")
    assert load_settings().cors_origins == ("https://a.example", "https://b.example")


# ---------------------------------------------------------------- refusals


def sentence(**given: object) -> str:
    with pytest.raises(SetupError) as caught:
        load_settings(**given)
    return str(caught.value)


def test_a_bad_value_is_refused_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOUCHSTORM_PING_INTERVAL_S", "soon")
    assert "VOUCHSTORM_PING_INTERVAL_S" in sentence()


def test_all_bad_values_are_named_at_once() -> None:
    text = sentence(default_quorum=0, snapshot_hz=0)
    assert ("VOUCHSTORM_DEFAULT_QUORUM" in text, "VOUCHSTORM_SNAPSHOT_HZ" in text) == (True, True)


def test_a_short_secret_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOUCHSTORM_JWT_SECRET", "hunter2hunter2")
    text = sentence()
    assert ("32 characters" in text, "hunter2" in text) == (True, False)


def test_production_needs_a_secret() -> None:
    assert "VOUCHSTORM_JWT_SECRET is required" in sentence(mode="production")


def test_production_refuses_any_origin() -> None:
    assert "must not contain *" in sentence(mode="production", jwt_secret=SECRET, cors_origins="*")


def test_production_starts_with_a_secret() -> None:
    assert load_settings(mode="production", jwt_secret=SECRET).mode is Mode.PRODUCTION


@pytest.mark.parametrize("url", ["postgres://x", "sqlite://relative", "redis://x", "vouchstorm.db"])
def test_an_unknown_store_is_refused(url: str) -> None:
    assert "sqlite:/// or mongodb://" in sentence(store_url=url)


@pytest.mark.parametrize("threshold", [50, 49.9, 100.1, 66.66])
def test_a_threshold_outside_or_between_the_tenths_is_refused(threshold: float) -> None:
    assert "VOUCHSTORM_CONSENSUS_THRESHOLD_PERCENT" in sentence(consensus_threshold_percent=threshold)


def test_every_threshold_in_tenths_can_be_set() -> None:
    read = [load_settings(consensus_threshold_percent=f"{tenths / 10:.1f}") for tenths in range(501, 1001)]
    assert [settings.consensus_policy.threshold_tenths for settings in read] == list(range(501, 1001))


def test_a_queue_that_a_replay_overflows_is_refused() -> None:
    assert "VOUCHSTORM_REPLAY_LIMIT" in sentence(replay_limit=500)
    assert load_settings(replay_limit=500, socket_queue_packets=1_100).replay_limit == 500


def test_every_field_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


# ---------------------------------------------------------------- what may be shown


@pytest.mark.parametrize("name", ["store_url", "bus_url"])
def test_settings_can_be_printed_without_the_passwords_in_their_urls(name: str) -> None:
    scheme = {"store_url": "mongodb", "bus_url": "redis"}[name]
    settings = load_settings(**{name: f"{scheme}://ann:hunter2@host/db"})
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()}"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("mongodb://host:27017/db", "mongodb://host:27017/db"),
        ("mongodb://ann:hunter2@one:1,two:2/db", "mongodb://one:1,two:2/db"),
        ("mongodb+srv://ann:hunter2@host/db", "mongodb+srv://host/db"),
        ("mongodb://host/db?authMechanismProperties=AWS_SESSION_TOKEN:hunter2", "mongodb://host/db"),
        ("mongodb://ann:p@hunter2@host/db", "mongodb://host/db"),
        ("mongodb://ann:p/hunter2@host/db", "mongodb://host/db"),
        ("mongodb://ann:hunter2?x@host/db", "mongodb://..."),
        ("mongodb://host/db?options=x@hunter2", "mongodb://..."),
        ("sqlite:///data/a@b?c.db", "sqlite:///data/a@b?c.db"),
    ],
)
def test_the_place_of_the_store_is_named_without_credentials(url: str, place: str) -> None:
    assert load_settings(store_url=url).store_place == place


def test_the_default_store_has_a_place(tmp_path: Path) -> None:
    assert load_settings(data_dir=tmp_path).store_place == f"sqlite:///{tmp_path}/vouchstorm.db"


def test_the_store_is_opened_with_its_credentials() -> None:
    url = "mongodb://ann:hunter2@host/db?replicaSet=rs0"
    assert load_settings(store_url=url).resolved_store_url == url


# ---------------------------------------------------------------- the development secret


def test_a_secret_that_is_set_is_used(tmp_path: Path) -> None:
    settings = load_settings(jwt_secret=SECRET, data_dir=tmp_path / "none")
    assert (signing_secret(settings), (tmp_path / "none").exists()) == (SECRET, False)


def test_without_one_a_secret_is_made_and_kept(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    first = signing_secret(settings)
    assert (len(first) >= 32, signing_secret(settings)) == (True, first)


def test_two_data_directories_have_two_secrets(tmp_path: Path) -> None:
    one, two = (signing_secret(load_settings(data_dir=tmp_path / name)) for name in "ab")
    assert one != two


def test_the_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    signing_secret(load_settings(data_dir=tmp_path))
    assert stat.S_IMODE((tmp_path / "jwt-secret").stat().st_mode) == 0o600


def test_nothing_else_is_left_in_the_directory(tmp_path: Path) -> None:
    signing_secret(load_settings(data_dir=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["jwt-secret"]


@pytest.mark.parametrize("content", ["", "short\n"])
def test_a_broken_secret_file_is_refused_and_not_used(tmp_path: Path, content: str) -> None:
    (tmp_path / "jwt-secret").write_text(content)
    with pytest.raises(SetupError, match="jwt-secret"):
        signing_secret(load_settings(data_dir=tmp_path))


def test_a_data_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--data-dir"):
        signing_secret(load_settings(data_dir=tmp_path / "file" / "data"))


def test_two_nodes_that_start_at_the_same_moment_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, others = load_settings(data_dir=tmp_path), []
    make = secrets.token_hex

    def meanwhile(size: int) -> str:
        """The other node starts while this one makes its secret."""
        monkeypatch.setattr(secrets, "token_hex", make)
        others.append(signing_secret(settings))
        return make(size)

    monkeypatch.setattr(secrets, "token_hex", meanwhile)
    assert (signing_secret(settings), len(others)) == (others[0], 1)
