"""`issue_token` and `seed_store` of the composition root: what they say, and what they do not."""

from pathlib import Path

import pytest

from backend.app import main
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import SetupError
from backend.app.ports import Clock, Store
from backend.app.settings import Settings, load_settings
from backend.app.store.open import build_store


async def test_a_token_for_nobody_names_the_store_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def store(settings: Settings, clock: Clock) -> Store:
        return build_store(
            f"sqlite:///{tmp_path}/in-its-place.db",
            trust_policy=TrustPolicy(),
            clock=clock,
            timeout_s=settings.store_timeout_s,
        )

    monkeypatch.setattr(main, "_store", store)
    settings = load_settings(store_url="mongodb://ann:hunter2@host:27017/db", data_dir=tmp_path)
    with pytest.raises(SetupError) as caught:
        await main.issue_token(settings, "bob")
    assert str(caught.value) == "There is no user 'bob' in mongodb://host:27017/db."
