"""`doctor --data` on random histories made by the domain and the store: a sound one is never accused."""

import sqlite3
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.app.contracts.types import Action, ClaimId, ClaimStatus, ValidationId
from backend.app.domain.consensus import ConsensusPolicy, Decision, decide
from backend.app.domain.effects import Effect, plan_consensus, plan_validation
from backend.app.domain.records import Claim
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import RefusedError
from backend.app.store.open import sqlite_store
from backend.app.store.sqlite.connection import connect_writer
from backend.app.store.sqlite.executor import Task
from backend.stack.data_checks import FOLLOWS, Finding, examine_data
from tests.contract.store.store_records import START, StubClock, a_claim, a_user, a_validation

PEOPLE = [a_user(f"p{number}") for number in range(5)]
CLAIMS = [a_claim(f"c{number}", f"p{number % 5}", quorum=2 + number % 2) for number in range(6)]
LATE = START.replace(year=2099)

T = TypeVar("T")
Step = tuple[str, int, int, Action, int]
STEPS: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from(
        ["validate", "validate", "validate", "apply", "apply", "apply", "apply again", "forget", "look"]
    ),
    st.integers(0, 4),
    st.integers(0, 59),
    # Mostly of one mind, so that there are long streaks.
    st.sampled_from([Action.VOUCH, Action.VOUCH, Action.VOUCH, Action.DISPUTE, Action.UNSURE]),
    st.integers(0, 3),
)
HISTORIES = st.lists(STEPS, min_size=20, max_size=70)
"""What happens, who, which claim or waiting effect, the answer, its weight."""


def _decide(claim: Claim) -> Decision | None:
    return decide(claim.tally, claim.weights, claim.quorum, ConsensusPolicy())


class Inline:
    """A database without threads: each job runs where it is asked for."""

    timeout_s = 0.0

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.readers = self.writer = self

    async def call(self, task: Task[T], timeout_s: float) -> T:
        return task(self._connection)

    async def close(self) -> None: ...

    ping = open = close


def now(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the call waits")


class History:
    """A store between the calls of any number of nodes: each effect may be late, alone, in any order."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.url = f"sqlite:///{path}"
        self.connection = connection
        self.waiting: dict[ValidationId | ClaimId, list[Effect]] = {}
        self.applied: list[Effect] = []
        database: Any = Inline(connection)
        self.store = sqlite_store(database, TrustPolicy(), StubClock())
        now(self.store.users.create_users(PEOPLE, "hash"))
        now(self.store.claims.create_claims(CLAIMS))

    def step(self, step: Step) -> None:
        kind, who, which, action, weight = step
        match kind:
            case "validate":
                self._validate(f"p{who}", CLAIMS[which % len(CLAIMS)], action, weight)
            case "apply":
                self._apply_one(which)
            case "apply again" if self.applied:
                self._apply([self.applied[which % len(self.applied)]], None)
            case "forget":
                now(self.store.notifications.trim_notifications(LATE, None, 100))
                now(self.store.effects.trim_effects(LATE, None, 100))
                self.applied.clear()  # nobody applies again what is finished and that old
            case "look":
                assert self.findings() == []

    def findings(self) -> list[Finding]:
        return examine_data(self.url).findings

    def _validate(self, by: str, claim: Claim, action: Action, weight: int) -> None:
        try:
            validation = a_validation(claim, by, action, weight=weight)
            recorded = now(self.store.claims.record_validation(validation, _decide))
        except RefusedError:
            return  # their own claim, a settled one, or a second time
        after = recorded.claim
        self.waiting[recorded.validation.id] = plan_validation(after, recorded.validation)
        if after.decision is not None:
            participants = now(self.store.claims.participants(after.id))
            self.waiting[after.id] = plan_consensus(after, after.decision, participants)

    def _apply_one(self, which: int) -> None:
        """One of all that wait; its plan is finished with the last."""
        choices = [(item, effect) for item, effects in self.waiting.items() for effect in effects]
        if not choices:
            return
        item, effect = choices[which % len(choices)]
        self.waiting[item].remove(effect)
        self._apply([effect], None if self.waiting[item] else item)
        self.applied.append(effect)

    def _apply(self, effects: list[Effect], finishes: ValidationId | ClaimId | None) -> None:
        now(self.store.effects.apply_effects(effects, finishes))

    def finish(self) -> None:
        """As the reconciler does."""
        while any(self.waiting.values()):
            self._apply_one(0)

    def answers(self) -> tuple[Counter[str], Counter[str]]:
        """Agreements and disagreements per user on settled claims, counted from the records."""
        agreed: Counter[str] = Counter()
        disagreed: Counter[str] = Counter()
        for made in CLAIMS:
            claim = now(self.store.claims.claim(made.id))
            if claim is None or claim.status is ClaimStatus.OPEN or claim.decision is None:
                continue
            for row in now(self.store.claims.participants(made.id)):
                if row.action is not Action.UNSURE:
                    (agreed if row.action is claim.decision.action else disagreed)[row.user_id] += 1
        return agreed, disagreed

    def streak(self, user_id: str) -> int:
        row = self.connection.execute("SELECT accurate_streak FROM users WHERE id = ?", (user_id,)).fetchone()
        return int(row[0])

    def plant(self, user_id: str, streak: int) -> None:
        self.connection.execute("UPDATE users SET accurate_streak = ? WHERE id = ?", (streak, user_id))


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "store.db"
        connect_writer(path, 5).close()
        return path.read_bytes()


@contextmanager
def begun() -> Iterator[History]:
    """Nobody waits for the disk here."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "store.db"
        path.write_bytes(_empty())
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA foreign_keys = ON")
            yield History(path, connection)


@settings(max_examples=20, deadline=None)
@given(steps=HISTORIES)
def test_a_sound_store_has_no_finding_at_any_moment(steps: list[Step]) -> None:
    with begun() as history:
        for step in steps:
            history.step(step)
        midway = history.findings()
        history.finish()
        assert (midway, history.findings()) == ([], [])


@settings(max_examples=15, deadline=None)
@given(steps=HISTORIES, planted=st.integers(-2, 8))
def test_of_streaks_exactly_the_impossible_are_found(steps: list[Step], planted: int) -> None:
    with begun() as history:
        for step in steps:
            history.step(step)
        history.finish()
        agreed, disagreed = history.answers()
        for user in PEOPLE:
            history.plant(user.id, planted)
        low = {user.id: 0 if disagreed[user.id] else agreed[user.id] for user in PEOPLE}
        impossible = {user.id for user in PEOPLE if not low[user.id] <= planted <= agreed[user.id]}
        accused = {word for found in history.findings() for word in found.sentence.split()}
        assert accused & {user.id for user in PEOPLE} == impossible


@settings(max_examples=15, deadline=None)
@given(steps=HISTORIES, planted=st.integers(-2, 8))
def test_a_streak_that_follows_is_the_one_that_was(steps: list[Step], planted: int) -> None:
    """Also in the midst of a history: what waits comes on top of it."""
    with begun() as history:
        for step in steps:
            history.step(step)
        before = {user.id: history.streak(user.id) for user in PEOPLE}
        for user in PEOPLE:
            history.plant(user.id, planted)
        for finding in history.findings():
            words = finding.sentence.rstrip(".").split()
            if finding.mend is FOLLOWS:
                assert int(words[-1]) == before[words[1]]


@pytest.mark.parametrize("streak", [3, 1])
def test_a_streak_that_the_order_may_have_made_is_not_accused(streak: int) -> None:
    """Three agreements and a disagreement: it depends on when that came."""
    with begun() as history:
        for number, validators in enumerate([(4, 3), (4, 3, 2), (4, 3), (4, 0, 1)]):
            for by in validators:
                wrong = (by, number) == (4, 3)
                history.step(("validate", by, number, Action.DISPUTE if wrong else Action.VOUCH, 1))
        history.finish()
        history.plant("id-p4", streak)
        assert history.findings() == []
