"""The composition root: how an application starts when its store does not, and a token for nobody."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.app import main
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import SetupError, UnavailableError
from backend.app.main import Application, create_app
from backend.app.observability.tracing import Tracing
from backend.app.ports import Clock, Store
from backend.app.services.reconciler import Reconciler
from backend.app.services.throttle import Throttle
from backend.app.settings import Settings, load_settings
from backend.app.store.metered import Method, wrapped
from backend.app.store.open import build_store
from tests.support.waiting import until


class ReluctantStore:
    """Opens at the n-th try; what comes after opening fails as told."""

    def __init__(self, real: Any, opens_at: int, trouble: list[BaseException]) -> None:
        self._real = wrapped(real, self._reluctant)
        self._opens_at = opens_at
        self._trouble = trouble
        self.tries = 0
        self.opened = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def _reluctant(self, name: str, method: Method) -> Method:
        async def open_late() -> None:
            self.tries += 1
            if self.tries < self._opens_at:
                raise UnavailableError("not yet")
            await method()
            self.opened += 1

        async def in_trouble(*args: Any) -> Any:
            if self._trouble:
                raise self._trouble.pop()
            return await method(*args)

        return {"open": open_late, "pending_validations": in_trouble}.get(name, method)


@pytest.fixture
async def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """start(opens_at, trouble) -> the store of a started application; stopped at the end."""
    monkeypatch.setattr(main, "OPEN_RETRY_S", 0.01)
    running: list[Application] = []

    async def start(opens_at: int = 1, trouble: list[BaseException] | None = None) -> ReluctantStore:
        built = create_app(Settings(data_dir=tmp_path, reconcile_interval_s=0.02))
        store: Any = ReluctantStore(built.services.store, opens_at, trouble or [])
        services = replace(built.services, store=store)
        reconciler = Reconciler(store, services.engine, services.clock, 0.02)
        throttle = Throttle(services.clock)
        running.append(Application(services, built.realtime, reconciler, throttle, None, Tracing()))
        await running[-1].start()
        return store  # type: ignore[no-any-return]

    yield start
    for application in running:
        await application.stop()


async def test_a_store_that_is_late_is_tried_again(started: Any) -> None:
    store = await started(opens_at=4)
    await until(lambda: store.opened)
    assert store.tries == 4


async def test_a_repair_that_fails_does_not_open_the_store_twice(started: Any) -> None:
    trouble: list[BaseException] = [UnavailableError("busy"), UnavailableError("busy")]
    store = await started(trouble=trouble)
    await until(lambda: not trouble)
    assert store.tries == 1


async def test_a_store_that_cannot_be_used_stops_the_start(started: Any, tmp_path: Path) -> None:
    (tmp_path / "vouchstorm.db").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(SetupError):
        await started()


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
