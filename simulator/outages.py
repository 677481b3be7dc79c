"""Absences of clients: when each was cut off, back, fed again and caught up; those not back are censored.

Pure: times are monotonic nanoseconds handed in. Called by the swarm and the runner.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from .histogram import Histogram
from .result import Reconnect, Recovery


@dataclass(slots=True)
class Outage:
    """One absence. allowed_ns: when the client might come back (the cut itself, or the end of its stay away).

    reloaded: the server said honestly that it could not replay; the client reads everything anew, if it can.
    """

    client: int
    cut_ns: int
    allowed_ns: int
    connected_ns: int = 0
    first_event_ns: int = 0
    caught_up_ns: int = 0
    reloaded: bool = False


@dataclass(slots=True)
class Outages:
    """All absences of a run, at most one open per client. hungry: back, but without a message since."""

    all: list[Outage] = field(default_factory=list)
    open: dict[int, Outage] = field(default_factory=dict)
    hungry: dict[int, Outage] = field(default_factory=dict)

    def cut(self, client: int, at_ns: int, away_ns: int = 0) -> Outage:
        """The client was cut off; one that is away already stays in its outage."""
        self.hungry.pop(client, None)
        outage = self.open.get(client)
        if outage is None:
            outage = self.open[client] = Outage(client, at_ns, at_ns + away_ns)
            self.all.append(outage)
        else:
            outage.connected_ns = 0
        return outage

    def connected(self, client: int, at_ns: int) -> None:
        """The server accepted the client again."""
        outage = self.open.get(client)
        if outage is not None and not outage.connected_ns:
            outage.connected_ns = at_ns
            if not outage.first_event_ns:
                self.hungry[client] = outage

    def fed(self, client: int, at_ns: int) -> None:
        """A message came in."""
        outage = self.hungry.pop(client, None)
        if outage is not None:
            outage.first_event_ns = at_ns

    def caught_up(self, client: int, at_ns: int) -> None:
        """The client holds everything it missed: the outage is over."""
        outage = self.open.pop(client, None)
        if outage is not None:
            outage.caught_up_ns = at_ns

    def summary(self, holes: Collection[int], closed_ns: int) -> Reconnect:
        """The figures of the result; what happened after `closed_ns`, the end of the window, is censored.

        holes: clients that the ledger found to miss something for good.
        """
        times = {name: Histogram() for name in ("connected_ns", "first_event_ns", "caught_up_ns")}
        lasted = Histogram()
        for outage in self.all:
            for name, histogram in times.items():
                if 0 < (moment_ns := getattr(outage, name)) <= closed_ns:
                    histogram.record(max(0, moment_ns - outage.allowed_ns) // 1000)
            if 0 < outage.caught_up_ns <= closed_ns:
                lasted.record((outage.caught_up_ns - outage.cut_ns) // 1000)
        cut = {outage.client for outage in self.all}
        told = {outage.client for outage in self.all if outage.reloaded}
        silent = (cut & set(holes)) - told
        return Reconnect(
            drops=len(self.all),
            reconnected=times["connected_ns"].count,
            censored=len(self.all) - times["caught_up_ns"].count,
            time_to_reconnect=times["connected_ns"].latency(),
            time_to_first_event=times["first_event_ns"].latency(),
            time_to_caught_up=times["caught_up_ns"].latency(),
            outage=lasted.latency(),
            recovery=Recovery(
                full=sum(
                    0 < o.caught_up_ns <= closed_ns and not o.reloaded and o.client not in silent
                    for o in self.all
                ),
                reloaded=sum(o.reloaded for o in self.all),
                silent_hole=len(silent),
            ),
        )
