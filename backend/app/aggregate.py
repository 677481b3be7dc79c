"""One Prometheus page out of several: the metrics of all workers, told apart by the label `worker`. Pure.

Refuses nothing and knows no sockets; `worker_metrics.py` fetches the pages that are merged here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

LABEL = "worker"


@dataclass(slots=True)
class _Family:
    """The lines of one metric: HELP and TYPE as first seen (workers of two versions may differ), samples."""

    head: dict[str, str] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What the supervisor knows of its workers.

    workers: how many there should be. restarts: workers started again after they died, since the start.
    """

    workers: int = 0
    restarts: int = 0


def merge(pages: Mapping[str, str]) -> str:
    """All pages as one, each sample labelled with the name of its page.

    pages: name of the worker -> text exposition. The families keep the order of their first sight.
    """
    families: dict[str, _Family] = {}
    for name, page in pages.items():
        for family, line in _lines(page):
            lines = families.setdefault(family, _Family())
            if line.startswith("#"):
                lines.head.setdefault(line[:7], line)
            else:
                lines.samples.append(_labelled(line, name))
    return "".join(
        line + "\n" for family in families.values() for line in (*family.head.values(), *family.samples)
    )


def group_page(facts: GroupFacts, answered: int, missing: int) -> str:
    """The metrics about the group itself.

    answered, missing: workers whose page is, and is not, part of this exposition.
    """
    return (
        "# HELP supervisor_workers Workers that the supervisor keeps running.\n"
        "# TYPE supervisor_workers gauge\n"
        f"supervisor_workers {facts.workers}\n"
        "# HELP supervisor_worker_restarts_total Workers started again after they died.\n"
        "# TYPE supervisor_worker_restarts_total counter\n"
        f"supervisor_worker_restarts_total {facts.restarts}\n"
        "# HELP supervisor_workers_scraped Workers by whether this page holds their metrics.\n"
        "# TYPE supervisor_workers_scraped gauge\n"
        f'supervisor_workers_scraped{{outcome="answered"}} {answered}\n'
        f'supervisor_workers_scraped{{outcome="missing"}} {missing}\n'
    )


def _lines(page: str) -> Iterator[tuple[str, str]]:
    """(family, line); the samples belong to the family whose HELP or TYPE came last."""
    family = ""
    for line in page.split("\n"):  # only this ends a line: a label may hold any other break
        if line.startswith(("# HELP ", "# TYPE ")):
            family = line.split(" ", 3)[2]
        elif not line or line.startswith("#"):
            continue
        yield family, line


def _labelled(sample: str, worker: str) -> str:
    """The sample with the label put first. The name of a metric holds neither `{` nor a space."""
    end = len(sample)
    for stop in ("{", " "):
        found = sample.find(stop)
        end = found if 0 <= found < end else end
    name, rest = sample[:end], sample[end:]
    label = f'{LABEL}="{worker}"'
    if not rest.startswith("{"):
        return f"{name}{{{label}}}{rest}"
    inner = rest[1:].lstrip()
    return f"{name}{{{label}{inner}" if inner.startswith("}") else f"{name}{{{label},{inner}"
