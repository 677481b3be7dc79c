"""Readiness: may a load balancer send work here? Named checks, each with a deadline, and the draining flag.

Aliveness is no business of this room: a process that answers at all is alive. The composition root registers
the checks; `api/health.py` asks; shutdown calls `drain`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..errors import VouchstormError

Check = Callable[[], Awaitable[None]]
"""Returns when all is well; raises otherwise. A VouchstormError's sentence is shown to the prober."""

OK = "ok"
DRAINING = "draining"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """`checks`: name -> `ok` or one sentence of what is wrong."""

    ready: bool
    checks: dict[str, str]


class Health:
    """timeout_s: how long one check may take before it counts as failed."""

    def __init__(self, timeout_s: float = 2.0) -> None:
        self._timeout_s = timeout_s
        self._checks: dict[str, Check] = {}
        self._draining = False

    def register(self, name: str, check: Check) -> None:
        """Ask this, too. Raises ValueError for a name that is taken."""
        if name in self._checks or name == DRAINING:
            raise ValueError(f"a health check named {name!r} exists already")
        self._checks[name] = check

    @property
    def draining(self) -> bool:
        return self._draining

    def drain(self) -> None:
        """From now on this node is not ready: it is going away. Cannot be taken back."""
        self._draining = True

    async def readiness(self) -> Readiness:
        """Run all checks at the same time; never raises and never takes much longer than `timeout_s`."""
        names = list(self._checks)
        verdicts = await asyncio.gather(*(self._verdict(name) for name in names))
        checks = dict(zip(names, verdicts, strict=True))
        checks[DRAINING] = "this node is going away" if self._draining else OK
        return Readiness(all(verdict == OK for verdict in checks.values()), checks)

    async def _verdict(self, name: str) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._checks[name]()
        except TimeoutError:
            return f"did not answer within {self._timeout_s:g} s"
        except VouchstormError as error:
            return str(error)
        except Exception:  # noqa: BLE001 - a probe is always answered
            _log.exception("health check %s failed", name)
            return "failed; see the log of this node"
        return OK
