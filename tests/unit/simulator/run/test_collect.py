"""What readings at two moments say about the generator and the server."""

from typing import Any

from simulator.generator.publisher import Dispatch
from simulator.histogram import Histogram
from simulator.run.collect import Meter, generator_of

NS = 1_000_000_000


def meter(at_s: float, **changes: Any) -> Meter:
    """A reading of a run in which nothing happened, but for the changes."""
    values: dict[str, Any] = {
        "own_cpu_s": 0.0,
        "server_cpu_s": 0.0,
        "server_rss_bytes": 0,
        "service_cpu_s": {},
        "shards": [],
    }
    return Meter(at_ns=round(at_s * NS), **(values | changes))


def test_a_publish_the_harness_did_not_understand_is_its_own_error() -> None:
    found = generator_of(meter(0), meter(10), [], Dispatch(doubts=2), Histogram(), overrun="", lost=[])
    assert found.handler_errors == 2
