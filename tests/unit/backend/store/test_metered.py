"""The metered store: forwards everything, times every call, counts what was stored."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from backend.app.contracts.types import ClaimId
from backend.app.errors import RefusedError, UnavailableError
from backend.app.observability.metrics import Metrics
from backend.app.ports import Store
from backend.app.store.metered import MeteredStore
from tests.support.backend.rest_app import rest_world

METHODS = {name for name, member in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
VOID = {name for name in METHODS if inspect.signature(getattr(Store, name)).return_annotation is None}


class Echo:
    """Keeps what it was called with and answers with the name of the method, or raises."""

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


def counted(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_method_of_the_port_is_there() -> None:
    assert {
        name for name in METHODS if inspect.iscoroutinefunction(getattr(MeteredStore, name, None))
    } == METHODS


@pytest.mark.parametrize("method", sorted(METHODS))
def test_signatures_are_those_of_the_port(method: str) -> None:
    assert inspect.signature(getattr(MeteredStore, method)) == inspect.signature(getattr(Store, method))


@pytest.mark.parametrize("method", sorted(METHODS - {"record_validation", "settle", "apply_effects"}))
async def test_a_call_arrives_unchanged_and_is_timed(method: str) -> None:
    metrics = Metrics("0", "n")
    echo = Echo()
    store = MeteredStore(echo, metrics)
    parameters = list(inspect.signature(getattr(Store, method)).parameters.values())[1:]
    args = [item.name for item in parameters if item.kind is not item.KEYWORD_ONLY]
    kwargs = {item.name: item.name for item in parameters if item.kind is item.KEYWORD_ONLY}
    await getattr(store, method)(*args, **kwargs)
    assert echo.calls == [(method, tuple(args), kwargs)]
    assert counted(metrics, "store_call_seconds_count", method=method) == 1


@pytest.mark.parametrize("method", sorted(METHODS - VOID - {"record_validation", "settle", "apply_effects"}))
async def test_the_answer_is_the_stores(method: str) -> None:
    parameters = inspect.signature(getattr(Store, method)).parameters.values()
    args = [item.name for item in list(parameters)[1:] if item.kind is not item.KEYWORD_ONLY]
    kwargs = {item.name: item.name for item in parameters if item.kind is item.KEYWORD_ONLY}
    store = MeteredStore(Echo(), Metrics("0", "n"))
    assert await getattr(store, method)(*args, **kwargs) == method


@pytest.mark.parametrize(
    ("error", "kind"),
    [(RefusedError("no"), "refused"), (UnavailableError("down"), "unavailable"), (KeyError("x"), "bug")],
)
async def test_errors_pass_through_and_are_counted_by_kind(error: Exception, kind: str) -> None:
    metrics = Metrics("0", "n")
    store = MeteredStore(Echo(error), metrics)
    with pytest.raises(type(error)):
        await store.claim(ClaimId("c"))
    assert counted(metrics, "store_errors_total", method="claim", kind=kind) == 1


async def test_a_failed_call_is_timed_too() -> None:
    metrics = Metrics("0", "n")
    store = MeteredStore(Echo(KeyError("x")), metrics)
    with pytest.raises(KeyError):
        await store.claim(ClaimId("c"))
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
