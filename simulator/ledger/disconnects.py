"""Absences of clients: when each was cut off, back, fed again and caught up; those not back are censored.

Pure: times are monotonic nanoseconds handed in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from ..histogram import Histogram
from ..result import Reconnect, Recovery


@dataclass(slots=True)
class Disconnect:
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
class Disconnects:
    """All absences of a run, at most one open per client. awaiting_event: back, but without a message since.

    deaf: clients that stopped reading. thrown_out: those of them that the server ended for it.
    """

    all: list[Disconnect] = field(default_factory=list)
    open: dict[int, Disconnect] = field(default_factory=dict)
    awaiting_event: dict[int, Disconnect] = field(default_factory=dict)
    deaf: int = 0
    thrown_out: int = 0

    def cut(self, client: int, at_ns: int, away_ns: int = 0) -> Disconnect:
        """The client was cut off; one that is away already stays in its outage."""
        self.awaiting_event.pop(client, None)
        outage = self.open.get(client)
        if outage is None:
            outage = self.open[client] = Disconnect(client, at_ns, at_ns + away_ns)
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
                self.awaiting_event[client] = outage

    def fed(self, client: int, at_ns: int) -> None:
        """A message came in."""
        outage = self.awaiting_event.pop(client, None)
        if outage is not None:
            outage.first_event_ns = at_ns

    def caught_up(self, client: int, at_ns: int) -> None:
        """The client holds everything it missed: the outage is over."""
        outage = self.open.pop(client, None)
        if outage is not None:
            outage.caught_up_ns = at_ns

    def absences(self, holes: Mapping[int, int], closed_ns: int) -> "Absences":
        """How they ended; what happened after `closed_ns`, the end of the window, is censored.

        holes: clients that the ledger found to miss something for good -> when the newest of it was sent. The
        server's honest word covers what was sent before it gave it; a hole it does not cover is silent, and
        counted on the client's last absence.
        """
        found = Absences(deaf=self.deaf, thrown_out=self.thrown_out)
        ended = {outage.client: outage for outage in self.all if 0 < outage.caught_up_ns <= closed_ns}
        told_ns = {outage.client: outage.connected_ns for outage in self.all if outage.reloaded}
        silent = {client for client, sent_ns in holes.items() if told_ns.get(client, -1) < sent_ns}
        for outage in self.all:
            hole = outage.client in silent and ended.get(outage.client) is outage
            found.count(outage, closed_ns, hole=hole)
        return found


@dataclass(slots=True)
class Absences:
    """Counts and times that add up over processes: drops = full + reloaded + silent + censored."""

    drops: int = 0
    full: int = 0
    reloaded: int = 0
    silent: int = 0
    censored: int = 0
    deaf: int = 0
    thrown_out: int = 0
    reconnect: Histogram = field(default_factory=Histogram)
    first_event: Histogram = field(default_factory=Histogram)
    caught_up: Histogram = field(default_factory=Histogram)
    outage: Histogram = field(default_factory=Histogram)

    def count(self, outage: Disconnect, closed_ns: int, *, hole: bool) -> None:
        """One absence; hole: something is missing that nobody told of."""
        self.drops += 1
        moments = (
            (outage.connected_ns, outage.allowed_ns, self.reconnect),
            (outage.first_event_ns, outage.allowed_ns, self.first_event),
            (outage.caught_up_ns, outage.allowed_ns, self.caught_up),
            (outage.caught_up_ns, outage.cut_ns, self.outage),
        )
        for at_ns, since_ns, histogram in moments:
            if 0 < at_ns <= closed_ns:
                histogram.record(max(0, at_ns - since_ns) // 1000)
        if not 0 < outage.caught_up_ns <= closed_ns:
            self.censored += 1
        elif hole:
            self.silent += 1
        elif outage.reloaded:
            self.reloaded += 1
        else:
            self.full += 1

    def add(self, other: "Absences") -> None:
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Histogram):
                mine.merge(theirs)
            else:
                setattr(self, each.name, mine + theirs)

    def figures(self) -> Reconnect:
        return Reconnect(
            drops=self.drops,
            reconnected=self.reconnect.count,
            censored=self.censored,
            time_to_reconnect=self.reconnect.latency(),
            time_to_first_event=self.first_event.latency(),
            time_to_caught_up=self.caught_up.latency(),
            outage=self.outage.latency(),
            stopped_reading=self.deaf,
            ended_by_server=self.thrown_out,
            recovery=Recovery(full=self.full, reloaded=self.reloaded, silent_hole=self.silent),
        )
