"""The end of a load test: findings of all processes -> the simulator's verdict -> result file and exit code.

Lives in the process that leads: the only one, or the master. Locust's own exit code would say nothing about
latency or lost messages.
"""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from simulator import host
from simulator.result import Phase, Result, to_json
from simulator.run.collect import versions
from simulator.verdict import Honesty, judge

from .findings import Part, merge
from .options import LoadOptions

log = logging.getLogger(__name__)


class Judge:
    """begin -> verdict. result: of the test that ended last."""

    def __init__(self) -> None:
        self.result: Result | None = None
        self.interrupted = False
        """Set by whoever knows that the test ends before its time."""
        self._options = LoadOptions()
        self._facts: dict[str, Any] = {}
        self._started_s = 0.0

    def begin(self, options: LoadOptions, facts: dict[str, Any]) -> None:
        """A test begins. facts: name, host, users, run_time_s, processes."""
        self._options, self._facts = options, facts
        self._started_s = time.monotonic()
        self._started_at = datetime.now(UTC).isoformat()
        self.result = None
        self.interrupted = False

    @property
    def running(self) -> bool:
        """Whether a test has begun and has no verdict yet."""
        return bool(self._started_s) and self.result is None

    def verdict(self, parts: Sequence[Part], silent: Sequence[str] = ()) -> Result:
        """Judge, write the result file, and say it. silent: workers that did not tell what they counted."""
        lasted_s = time.monotonic() - self._started_s
        wanted_s = self._facts.get("run_time_s") or 0
        findings = merge(
            parts,
            {
                "scenario": {
                    "name": "locust",
                    "clients": self._facts.get("users", 0),
                    "duration_s": wanted_s or round(lasted_s, 1),
                    "think_s": self._options.think_s,
                    "quorum": self._options.quorum,
                    "live": self._options.live,
                },
                "seed": self._options.seed,
                "target": str(self._facts.get("host", "")),
                "versions": versions(),
                "host": host.describe(),
                "started_at": self._started_at,
                "duration_s": round(lasted_s, 3),
                "interrupted": self.interrupted,
                "phases": [Phase(name="load", started_s=0.0, ended_s=round(lasted_s, 3))],
                "notes": [f"The worker {name} told nothing of what it counted." for name in silent],
            },
        )
        self.result = judge(findings, self._options.slo, Honesty())
        if silent:
            self.result = _invalid(self.result, silent)
        if self._options.result is not None:
            self._options.result.parent.mkdir(parents=True, exist_ok=True)
            self._options.result.write_text(to_json(self.result))
        log.info("verdict: %s", " ".join([self.result.verdict, *self.result.reasons]))
        return self.result


def _invalid(found: Result, silent: Sequence[str]) -> Result:
    """Figures without those of a worker are not the figures of the run."""
    reasons = [f"{len(silent)} workers told nothing of what they counted.", *found.reasons]
    return found.model_copy(update={"verdict": "INVALID", "exit_code": 4, "reasons": reasons})
