"""What a process may use: descriptors and processors. Called by the course and by the processes it starts."""

import os

from . import host
from .errors import GeneratorLimitError

DESCRIPTORS_TO_SPARE = 512


def allow_sockets(count: int) -> None:
    """Raise this process's limit so that `count` sockets fit. Raises GeneratorLimitError when they do not."""
    allowed = host.raise_open_files(count + DESCRIPTORS_TO_SPARE)
    if 0 <= allowed < count + DESCRIPTORS_TO_SPARE // 4:
        raise GeneratorLimitError(
            f"{count} sockets do not fit into the {allowed} open files this process may have: raise the "
            "limit (ulimit -n), or use fewer clients or more --processes."
        )


def split_processors(processes: int) -> tuple[set[int] | None, set[int] | None]:
    """Processors of the generator, one for each of its processes, and the rest, at least one, for the server;
    nothing to split on a single one."""
    allowed = sorted(os.sched_getaffinity(0))
    mine = max(1, min(processes, len(allowed) - 1))
    return (set(allowed[:mine]), set(allowed[mine:])) if len(allowed) > 1 else (None, None)


def free_processors(*, managed: bool) -> int:
    """Processors that the generator may fill; managed: the server is on this machine and needs one too."""
    return max(1, len(os.sched_getaffinity(0)) - managed)
