"""What the consensuses made of each user's progress, as far as stored rows tell without their order. Pure.

The order in which effects reached a user is not stored, and a streak depends on it: only its limits are
known. What was not applied yet, and what claims in doubt or missing rows may have done, widens them: a store
in use has no false finding. Called by `data_checks`.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ..app.contracts.types import Action, ClaimStatus
from .data_facts import Answers, Facts, Row


@dataclass(frozen=True, slots=True)
class Limits:
    """low <= what a user's row says in `column` <= high; equal: it follows."""

    column: str
    low: int
    high: int

    @property
    def sentence(self) -> str:
        """What the row should say."""
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


@dataclass
class Standing:
    """One user: what applied effects of claims that are whole did.

    answered: consensuses on claims that the user validated; agreed and disagreed are among them, without
    those the user was unsure about, which neither add to a streak nor break it. verified: own claims.
    told: trust changes that came from all these. awaited: consensuses without a trust change.
    """

    answered: int = 0
    agreed: int = 0
    disagreed: int = 0
    verified: int = 0
    told: int = 0
    awaited: int = 0

    def add(self, action: Action | None, consensus: Action) -> None:
        """Count one consensus in. action: the user's own, None for the owner."""
        self.told += 1
        if action is None:
            self.verified += consensus is Action.VOUCH
            return
        self.answered += 1
        if action is not Action.UNSURE:
            self.agreed += action is consensus
            self.disagreed += action is not consensus

    def limits(self, changes: int) -> Iterator[Limits]:
        """changes: how many trust changes the user has, from whatever claim."""
        unknown = max(0, changes - self.told) + self.awaited
        yield Limits("consensus_count", self.answered, self.answered + unknown)
        yield Limits("claims_verified", self.verified, self.verified + unknown)
        broken = self.disagreed or unknown
        yield Limits("accurate_streak", 0 if broken else self.agreed, self.agreed + unknown)


class Standings:
    """Everybody's, claim by claim."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._of: defaultdict[str, Standing] = defaultdict(Standing)

    def add(self, claim: Row, answers: Answers, *, whole: bool) -> None:
        """whole: nothing was found wrong with this claim."""
        settled = claim["status"] != ClaimStatus.OPEN.value
        for user_id, action in [
            (claim["owner_id"], None),
            *zip(answers.authors, answers.actions, strict=True),
        ]:
            if not self._facts.was_told(claim["id"], user_id):
                self._of[user_id].awaited += settled or not whole
            elif settled and whole:
                self._of[user_id].add(action, Action(claim["decision_action"]))

    def limits(self, user_id: str) -> Iterator[Limits]:
        """What the progress of this user has to keep."""
        return self._of[user_id].limits(self._facts.changes[user_id])
