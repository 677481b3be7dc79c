"""Finds dead peers for all clients of a process with one timer: a wheel of buckets, one look per deadline.

Called by `LeanClient`; owned by whoever runs the clients.
"""


class HeartbeatSweep:
    """A timer wheel of `tick_s` steps. Runs only while it watches something; holds no timer when idle."""

    def __init__(self, tick_s: float = 0.25) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Forget everything and cancel the timer."""
        raise NotImplementedError
