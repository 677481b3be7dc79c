"""Prometheus counters of the server, node by node: behind a load balancer each scrape meets any of them.

Read at two moments, they say what grew. Refuses to compare a process with the one that took its place.
Called by the course and its meters.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .socketio_client import Endpoint
from .target.http_client import RestClient, RestError

TIMEOUT_S = 5.0
STARTED = "process_start_time_seconds"


@dataclass(frozen=True, slots=True)
class Page:
    """Counters of one process, summed over their labels. started_s: Unix time; None: it does not say."""

    counters: Mapping[str, float]
    started_s: float | None = None

    def followed_by(self, later: "Page") -> bool:
        """Whether a later page is of the same process: same start, or else no counter that fell."""
        if self.started_s is not None and later.started_s is not None:
            return self.started_s == later.started_s
        return all(later.counters.get(name, 0.0) >= value for name, value in self.counters.items())


Pages = Mapping[str, Page]
"""What each node that answered has, by its name."""


async def scrape(target: Endpoint, ready: Mapping[str, Any]) -> dict[str, Page]:
    """The pages of the nodes that a ready line names, or of the target itself where it names none."""
    nodes = _nodes(target, ready)
    pages = await asyncio.gather(*map(_page, nodes.values()))
    return {name: page for name, page in zip(nodes, pages, strict=True) if page is not None}


def growth(before: Pages, after: Pages) -> dict[str, float]:
    """What grew in all nodes that were there all the time, by how much; unchanged counters are left out."""
    sums: dict[str, float] = {}
    for node in _steady(before, after):
        was = before[node].counters
        for name, value in after[node].counters.items():
            sums[name] = sums.get(name, 0.0) + value - was.get(name, 0.0)
    return {name: round(sums[name], 6) for name in sorted(sums) if sums[name]}


def left_out(before: Pages, after: Pages) -> str:
    """A sentence about the nodes that `growth` is without; empty when it is of all."""
    steady = _steady(before, after)
    missing = sorted({*before, *after} - set(steady))
    if not missing or not (before and after):
        return ""
    return f"server.metrics are without {', '.join(missing)}: started or gone since the load began."


def _steady(before: Pages, after: Pages) -> list[str]:
    return [node for node in after if node in before and before[node].followed_by(after[node])]


def _nodes(target: Endpoint, ready: Mapping[str, Any]) -> dict[str, Endpoint]:
    said, found = ready.get("nodes"), {}
    for node in said if isinstance(said, list) else []:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            found[str(node["name"])] = Endpoint.parse(str(node["url"]))
    return found or {target.authority: target}


async def _page(node: Endpoint) -> Page | None:
    client = RestClient(node)
    try:
        reply = await client.request("GET", "/metrics", timeout_s=TIMEOUT_S)
    except RestError:
        return None
    finally:
        await client.close()
    return parse(reply.body.decode(errors="replace")) if reply.status == 200 else None


def parse(text: str) -> Page:
    """A page in the Prometheus text format; of its gauges only the start of the process, and no buckets."""
    sums: dict[str, float] = {}
    gauges: set[str] = set()
    started_s = None
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            words = line.split()
            if words[1:2] == ["TYPE"] and words[3:] == ["gauge"]:
                gauges.add(words[2])  # some are named as counters are
            continue
        series, _, number = line.rpartition(" ")
        name = series.partition("{")[0]
        with contextlib.suppress(ValueError):
            if name.endswith(("_total", "_count", "_sum")) and name not in gauges:
                sums[name] = sums.get(name, 0.0) + float(number)
            elif name == STARTED:
                started_s = float(number)
    return Page(sums, started_s)
