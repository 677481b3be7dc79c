"""How to speak to a bare server: it must acknowledge the event `echo` with anything, and nothing else.

Each publish is an `echo` by one client; its acknowledgement, received by the same client, is the message
owed. So the latency is a round trip, counted from the intended time. Answers under way when a connection
ends are owed to nobody.
"""

import asyncio

from ..generator.publisher import Outcome
from ..ledger.durable import Cause, Truth
from ..scenario.schedule import Publication, Workload
from .base import ClientFindings, Profile, Progress, Stage
from .virtual_client import VirtualClient

EVENT = "echo"


class Echo(Profile):
    """The profile of a server that only echoes."""

    at_clients = True
    nothing_to_check = "An echo server keeps nothing that could be checked."

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.members: dict[int, EchoMember] = {}

    async def prepare(self, progress: Progress) -> Workload:
        """Every client talks to itself."""
        scenario = self.stage.scenario
        return Workload(scenario.publishers(scenario.clients), barred=[-1], once=False)

    def member(self, index: int) -> VirtualClient:
        """A client that echoes."""
        member = EchoMember(index, self.stage)
        self.members[member.number] = member
        return member

    async def publish(self, item: Publication, intended_ns: int) -> Outcome:
        """One round trip."""
        member = self.members[item.user]
        return await member.echo(item, intended_ns, self.stage.scenario.publish.timeout_s)

    def witness(self) -> ClientFindings:
        """What was asked is what is owed."""
        truth = {
            member.box.user: Truth([(seq, f"{seq}") for seq in sorted(member.owed)])
            for member in self.members.values()
        }
        return ClientFindings(truth)


class EchoMember(VirtualClient):
    """owed: numbers of the questions that must have been answered."""

    __slots__ = ("_asked", "_waiting", "box", "owed")

    def __init__(self, index: int, stage: Stage) -> None:
        super().__init__(index, stage.ledger, stage.outages)
        self.box = self.ledger.mailbox(index, f"client {self.number}")
        self.box.begin(0)
        self.owed: set[int] = set()
        self._asked = 0
        self._waiting: dict[int, asyncio.Future[int]] = {}

    def lost(self, at_ns: int) -> None:
        """Answers under way are lost with the connection, through no fault of the server."""
        self.owed -= self._waiting.keys()
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()

    async def echo(self, item: Publication, intended_ns: int, timeout_s: float) -> Outcome:
        """Ask once and wait for the answer."""
        self._asked += 1
        seq, cause = self._asked, f"{self.number}:{self._asked}"
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def answered(args: bytes, at_ns: int) -> None:
            self.box.push(seq, f"{seq}", at_ns, 1, cause, ordered=False)
            self.fed(at_ns)
            if not waiting.done():
                waiting.set_result(at_ns)

        if not self.here or not self.client.emit(EVENT, {"n": item.n}, ack=answered):
            return Outcome("refused", "the client was away")
        self.ledger.causes[cause] = Cause(intended_ns, item.measured)
        self.owed.add(seq)
        self._waiting[seq] = waiting
        try:
            await asyncio.wait_for(asyncio.shield(waiting), timeout_s)
        except TimeoutError:
            return Outcome("failed", "no answer in time")
        except asyncio.CancelledError:
            if not waiting.cancelled():
                raise
            return Outcome("refused", "the connection ended")
        finally:
            self._waiting.pop(seq, None)
        return Outcome("accepted")
