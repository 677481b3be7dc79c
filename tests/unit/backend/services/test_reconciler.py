"""What was stored while its answer got lost was pushed by nobody: after a repair everybody looks again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backend.app.clock import SortableIds
from backend.app.contracts.types import Action, ClaimId, UserId
from backend.app.domain.consensus import ConsensusPolicy
from backend.app.domain.records import Claim, User
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import UnavailableError
from backend.app.services.consensus_engine import ConsensusEngine
from backend.app.services.reconciler import Reconciler
from backend.app.services.websocket_service import WebSocketService
from backend.app.store.metered import Method, wrapped
from backend.app.store.open import sqlite_store
from backend.app.store.sqlite.connection import Database
from tests.support.backend.rest_app import ManualClock, RecordingEmitter
from tests.support.waiting import until

INTERVAL_S = 0.01


class LosingAnswers:
    """Applies effects, and loses the answer of the next `lost` calls. finishing: also marks what is done."""

    lost = 0
    finishing = True

    def wrap(self, name: str, method: Method) -> Method:
        async def apply_effects(effects: Any, finishes: Any = None) -> Any:
            rows = await method(effects, finishes if self.finishing else None)
            if self.lost:
                self.lost -= 1
                raise UnavailableError("The answer got lost.")
            return rows

        return apply_effects if name == "apply_effects" else method


class Room:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.answers = LosingAnswers()
        real = sqlite_store(Database(path, 20.0), TrustPolicy(), self.clock)
        self.store = wrapped(real, self.answers.wrap)
        self.engine = ConsensusEngine(
            self.store,
            WebSocketService(RecordingEmitter()),
            self.clock,
            SortableIds(self.clock),
            ConsensusPolicy(),
        )
        self.told = 0
        self.reconciler = Reconciler(self.store, self.engine, self.clock, INTERVAL_S, self._tell)

    async def _tell(self) -> None:
        self.told += 1

    async def validate(self) -> None:
        """One validation of a fresh claim."""
        owner, author = (User(UserId(name), name, name, self.clock.now()) for name in ("owner", "author"))
        await self.store.users.create_users([owner, author], "hash")
        claim = Claim(ClaimId("c"), owner.id, "owner", "Title", "", (), 3, self.clock.now())
        await self.store.claims.create_claim(claim)
        await self.engine.process_validation(claim_id=claim.id, user=author, action=Action.VOUCH)
        self.clock.advance(60.0)


@pytest.fixture
async def room(tmp_path: Path) -> Any:
    room = Room(tmp_path / "store.db")
    await room.store.open()
    running = asyncio.create_task(room.reconciler.run())
    yield room
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await room.store.close()


async def test_after_a_repair_everybody_looks_again(room: Room) -> None:
    room.answers.lost, room.answers.finishing = 1, False
    await room.validate()
    room.answers.finishing = True
    await until(lambda: room.told and room.reconciler.repaired)


async def test_a_lost_answer_is_enough_to_look_again(room: Room) -> None:
    """All was stored, nothing is left to repair, and yet nobody pushed it."""
    room.answers.lost = 1
    await room.validate()
    await until(lambda: room.told)
    assert room.reconciler.repaired == 0


async def test_nobody_looks_again_without_need(room: Room) -> None:
    await room.validate()
    reads = await room.store.claims.pending_validations(room.clock.now(), 9)
    await asyncio.sleep(20 * INTERVAL_S)
    assert (reads, room.told) == ([], 0)
