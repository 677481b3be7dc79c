"""A store that times every call and counts what was stored; otherwise exactly the store it wraps.

Facts are counted where they become facts: a validation when it is recorded, a consensus when it is settled, a
notification when its row exists.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from inspect import getmembers, isfunction
from types import SimpleNamespace
from typing import Any

from ..domain.records import Claim, Notification
from ..errors import RefusedError, UnavailableError
from ..observability.metrics import Metrics
from ..ports import ClaimRepository, EffectRepository, NotificationRepository, Recorded, Store, UserRepository

Method = Callable[..., Coroutine[Any, Any, Any]]
Wrap = Callable[[str, Method], Method]


def wrapped(store: Store, wrap: Wrap) -> Store:
    """The same store with `wrap(name, method)` in place of each method."""

    def repository(port: type, real: object) -> Any:
        names = [name for name, _ in getmembers(port, isfunction) if not name.startswith("_")]
        return SimpleNamespace(**{name: wrap(name, getattr(real, name)) for name in names})

    return Store(
        open=wrap("open", store.open),
        close=wrap("close", store.close),
        ping=wrap("ping", store.ping),
        users=repository(UserRepository, store.users),
        claims=repository(ClaimRepository, store.claims),
        effects=repository(EffectRepository, store.effects),
        notifications=repository(NotificationRepository, store.notifications),
    )


def metered(store: Store, metrics: Metrics) -> Store:
    """The same store, timed and counted in `metrics` by the names of its methods."""

    def record_validation(recorded: Recorded) -> None:
        metrics.validations.inc(recorded.validation.action)
        if recorded.claim.decision is not None:
            metrics.consensus.inc(recorded.claim.status)

    def settle(settled: Claim | None) -> None:
        if settled is not None:
            metrics.consensus.inc(settled.status)

    def apply_effects(rows: Sequence[Notification]) -> None:
        for row in rows:
            metrics.notifications_created.inc(row.type)

    facts: dict[str, Callable[[Any], None]] = {
        "record_validation": record_validation,
        "settle": settle,
        "apply_effects": apply_effects,
    }

    def timed(name: str, method: Method) -> Method:
        count = facts.get(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            started_s = time.perf_counter()
            try:
                result = await method(*args, **kwargs)
            except RefusedError:
                metrics.store_error(name, "refused")
                raise
            except UnavailableError:
                metrics.store_error(name, "unavailable")
                raise
            except Exception:
                metrics.store_error(name, "bug")
                raise
            finally:
                metrics.store_call(name, time.perf_counter() - started_s)
            if count is not None:
                count(result)
            return result

        return call

    return wrapped(store, timed)
