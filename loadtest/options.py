"""What a load test can be told beside Locust's own options, as one frozen value. Pure.

Declared to Locust's parser by `locustfile`, so that they show in `--help` and in the web page, and reach the
workers of a distributed run by themselves.
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator import thresholds

from .shapes import CURVES

SHAPE_VARIABLE = "VOUCHSTORM_LOAD_SHAPE"
DEFAULT_SLO: Mapping[str, float] = {"failed_publish_ratio": 0.01, "established_ratio": 0.99}
"""Beside those that always hold (lost, misrouted, violations)."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """think_s: mean pause of a validator. drop_every_s: mean time until a bell drops, 0: never.

    live: scope of the watchers. tokens: None registers a new user for each simulated one.
    """

    think_s: float = 2.0
    quorum: int = 5
    live: str = "all"
    drop_every_s: float = 0.0
    tokens: Path | None = None
    seed: int = 1
    each_push: bool = False
    result: Path | None = None
    metrics_port: int = 0
    slo: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_SLO))

    @classmethod
    def of(cls, parsed: Namespace | Any) -> "LoadOptions":
        """From Locust's parsed options. Raises simulator.errors.ScenarioError for a bad --slo."""
        tokens, result = getattr(parsed, "tokens", ""), getattr(parsed, "result", "")
        return cls(
            think_s=float(parsed.think),
            quorum=int(parsed.quorum),
            live=str(parsed.live),
            drop_every_s=float(parsed.drop_every),
            tokens=Path(tokens) if tokens else None,
            seed=int(parsed.load_seed),
            each_push=bool(parsed.each_push),
            result=Path(result) if result else None,
            metrics_port=int(parsed.metrics_port),
            slo={**DEFAULT_SLO, **thresholds.parse([parsed.slo] if parsed.slo else [])},
        )


def declare(parser: ArgumentParser | Any) -> None:
    """Add our options to Locust's parser."""
    group = parser.add_argument_group("Vouchstorm")
    group.add_argument("--think", type=float, default=2.0, help="Mean pause of a validator, seconds.")
    group.add_argument("--quorum", type=int, default=5, help="Quorum of the claims that are posted.")
    group.add_argument(
        "--live",
        choices=("all", "watched"),
        default="all",
        help="What watchers follow: all claims, or a few.",
    )
    group.add_argument(
        "--drop-every", type=float, default=0.0, help="Mean seconds until a bell drops and returns; 0: never."
    )
    group.add_argument("--tokens", default="", help="Tokens of seeded users, one JSON object a line.")
    group.add_argument("--load-seed", type=int, default=1, help="The same seed, the same answers.")
    group.add_argument("--each-push", action="store_true", help="Fire Locust's request event for every push.")
    group.add_argument("--result", default="", help="Write findings and verdict here, as JSON.")
    group.add_argument(
        "--metrics-port", type=int, default=0, help="Serve Prometheus metrics here; 0: nowhere."
    )
    group.add_argument("--slo", default="", help="Service levels, for example fanout_p99_ms=250,lost=0.")
    group.add_argument(
        "--shape", choices=("", *CURVES), default="", help="Shape of the load over the run time."
    )


def wanted_shape(arguments: Sequence[str] | None = None) -> str:
    """The load shape named on the command line or in VOUCHSTORM_LOAD_SHAPE; empty for none.

    Locust looks for a shape before it parses options, so this looks ahead.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--shape", default=os.environ.get(SHAPE_VARIABLE, ""))
    known, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else list(arguments))
    return str(known.shape) if known.shape in CURVES else ""
