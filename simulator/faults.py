"""Faults on purpose: a flaky TCP proxy and signals to processes (interface first, implementation follows)."""

import random
from contextlib import AbstractContextManager
from types import TracebackType


class FlakyProxy:
    """`async with FlakyProxy("127.0.0.1", host, port, rng) as proxy:` listens on `proxy.port`, a free one."""

    port: int

    def __init__(
        self,
        listen_host: str,
        target_host: str,
        target_port: int,
        rng: random.Random,
        *,
        listen_port: int = 0,
    ) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> "FlakyProxy":
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def delay(self, ms: float, jitter_ms: float = 0.0) -> AbstractContextManager[None]:
        """Both directions arrive later."""
        raise NotImplementedError

    def drop_new(self) -> AbstractContextManager[None]:
        """New connections are accepted and never served."""
        raise NotImplementedError

    def stall(self) -> AbstractContextManager[None]:
        """Bytes stop flowing both ways, connections stay."""
        raise NotImplementedError

    def half_close(self) -> AbstractContextManager[None]:
        """The server's side of every connection ends (FIN to the client), the client's side stays open."""
        raise NotImplementedError

    def cut(self) -> AbstractContextManager[None]:
        """Every connection is reset, and every new one until the block ends."""
        raise NotImplementedError

    def bandwidth(self, bytes_per_s: float) -> AbstractContextManager[None]:
        """Each connection and direction carries at most so many bytes a second."""
        raise NotImplementedError

    def reset_after(self, n_bytes: int) -> AbstractContextManager[None]:
        """Each connection is reset once it carried so many more bytes, both directions together."""
        raise NotImplementedError


def killed(pid: int) -> AbstractContextManager[None]:
    """SIGKILL at once; yields when the process is gone. Starting it again is the owner's work."""
    raise NotImplementedError


def paused(pid: int) -> AbstractContextManager[None]:
    """SIGSTOP, and SIGCONT at the end whatever happens."""
    raise NotImplementedError
