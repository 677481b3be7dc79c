"""The metered store: forwards everything, times every call, counts what was stored."""

from pathlib import Path
from typing import Any, get_type_hints

import pytest

from backend.app.contracts.types import ClaimId
from backend.app.errors import RefusedError, UnavailableError
from backend.app.observability.metrics import Metrics
from backend.app.ports import Store
from backend.app.store.metered import metered
from tests.support.backend.rest_app import rest_world

REPOSITORIES = ("users", "claims", "effects", "notifications")
METHODS = [
    (repository, name)
    for repository in REPOSITORIES
    for name in vars(get_type_hints(Store)[repository])
    if not name.startswith("_")
]
COUNTED = ("record_validation", "settle", "apply_effects")
LIFECYCLE = ("open", "close", "ping")


class Echo:
    """A repository that keeps what it was called with and answers with the name of the method, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._error is not None:
                raise self._error
            self.calls.append((name, args, kwargs))
            return name

        return call


def a_store(metrics: Metrics, **repositories: Any) -> Any:
    echo = Echo()
    parts = {name: getattr(echo, name) for name in LIFECYCLE} | dict.fromkeys(REPOSITORIES, echo)
    return metered(Store(**{**parts, **repositories}), metrics)


def counted(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_methods_have_different_names_which_are_their_labels() -> None:
    names = [*LIFECYCLE, *(name for _, name in METHODS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("repository", "method"), [item for item in METHODS if item[1] not in COUNTED])
async def test_a_call_arrives_unchanged_and_is_timed(repository: str, method: str) -> None:
    metrics, echo = Metrics("0", "n"), Echo()
    store = a_store(metrics, **{repository: echo})
    assert await getattr(getattr(store, repository), method)("a", "b", limit=3) == method
    assert echo.calls == [(method, ("a", "b"), {"limit": 3})]
    assert counted(metrics, "store_call_seconds_count", method=method) == 1


@pytest.mark.parametrize("method", LIFECYCLE)
async def test_opening_and_closing_are_timed(method: str) -> None:
    metrics = Metrics("0", "n")
    await getattr(a_store(metrics), method)()
    assert counted(metrics, "store_call_seconds_count", method=method) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [(RefusedError("no"), "refused"), (UnavailableError("down"), "unavailable"), (KeyError("x"), "bug")],
)
async def test_errors_pass_through_and_are_counted_by_kind(error: Exception, kind: str) -> None:
    metrics = Metrics("0", "n")
    store = a_store(metrics, claims=Echo(error))
    with pytest.raises(type(error)):
        await store.claims.claim(ClaimId("c"))
    assert counted(metrics, "store_errors_total", method="claim", kind=kind) == 1


async def test_a_failed_call_is_timed_too() -> None:
    metrics = Metrics("0", "n")
    store = a_store(metrics, claims=Echo(KeyError("x")))
    with pytest.raises(KeyError):
        await store.claims.claim(ClaimId("c"))
    assert counted(metrics, "store_call_seconds_count", method="claim") == 1


async def test_stored_facts_are_counted_once(tmp_path: Path) -> None:
    async with rest_world(tmp_path) as world:
        owner, *others = [await world.person(name) for name in ("anna", "bert", "carl", "dora")]
        claim_id = await world.claim(owner)
        for other in others:
            await world.validate(other, claim_id)
            await world.validate(other, claim_id)
        metrics = world.services.metrics
        assert counted(metrics, "validations_total", action="vouch") == 3
        assert counted(metrics, "consensus_total", outcome="verified") == 1
        assert counted(metrics, "notifications_created_total", type="validation_received") == 3
        assert counted(metrics, "notifications_created_total", type="consensus_reached") == 4
