"""Laws that must hold in a claim service once it is quiet, checked on what it says about itself.

Every accepted validation is counted once, every settled claim tells each participant and its owner exactly
once, trust moves at most once per participant and claim and adds up, badges come at most once, and nobody's
notifications have holes. Pure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...result import Conservation
from .personas import ACTIONS

START_SCORE = 50
MAX_NAMED = 100
OPEN = "open"


@dataclass(frozen=True, slots=True)
class ValidationFact:
    id: str
    user: str
    action: str
    version: int


@dataclass(frozen=True, slots=True)
class ClaimFact:
    """A claim as the server shows it, with all its stored validations. tally, percent: by action."""

    id: str
    owner: str
    status: str
    version: int
    total: int
    tally: Mapping[str, int]
    percent: Mapping[str, float]
    validations: Sequence[ValidationFact]


@dataclass(frozen=True, slots=True)
class NoteFact:
    seq: int
    id: str
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserFact:
    """A user as the server shows it, with all notifications from seq 1 on, ascending."""

    id: str
    trust_score: int
    badges: Sequence[str]
    last_seq: int
    notes: Sequence[NoteFact]


@dataclass(slots=True)
class _Bench:
    """Where laws are checked: counts what was compared, names what was broken."""

    checked: int = 0
    broken: list[str] = field(default_factory=list)

    def law(self, holds: bool, said: str) -> None:
        self.checked += 1
        if not holds:
            self.broken.append(said)


def check(claims: Sequence[ClaimFact], users: Sequence[UserFact]) -> Conservation:
    """Check every law on every claim and user given; participants who are not among them are left out."""
    bench = _Bench()
    by_id = {user.id: user for user in users}
    for claim in claims:
        _check_tally(claim, bench)
        _check_consensus(claim, by_id, bench)
        _check_owner(claim, by_id, bench)
    for user in users:
        _check_notes(user, bench)
        _check_trust(user, bench)
        _check_badges(user, bench)
    return Conservation(
        checked=bench.checked, violations=bench.broken[:MAX_NAMED], violation_count=len(bench.broken)
    )


def _check_tally(claim: ClaimFact, bench: _Bench) -> None:
    stored = Counter(row.action for row in claim.validations)
    said, count = f"claim {claim.id}", len(claim.validations)
    bench.law(claim.total == count, f"{said}: its tally says {claim.total}, {count} validations are stored.")
    for action in ACTIONS:
        have = claim.tally.get(action, 0)
        bench.law(have == stored[action], f"{said}: {have} {action} counted, {stored[action]} stored.")
    versions = sorted(row.version for row in claim.validations)
    bench.law(
        versions == list(range(1, count + 1)) and claim.version == count,
        f"{said}: its versions are not 1..{count}, each once (it stands at {claim.version}).",
    )
    authors = Counter(row.user for row in claim.validations)
    bench.law(max(authors.values(), default=0) <= 1, f"{said}: somebody validated it twice.")
    bench.law(claim.owner not in authors, f"{said}: its owner validated it.")
    share = round(sum(claim.percent.get(action, 0.0) for action in ACTIONS), 6)
    bench.law(share == (100.0 if count else 0.0), f"{said}: its percentages sum to {share}.")


def _check_consensus(claim: ClaimFact, users: Mapping[str, UserFact], bench: _Bench) -> None:
    expected = 0 if claim.status == OPEN else 1
    for person in {claim.owner, *(row.user for row in claim.validations)} & users.keys():
        told = sum(1 for _ in _about(users[person], "consensus_reached", claim.id))
        bench.law(
            told == expected,
            f"claim {claim.id} is {claim.status}: user {person} was told of {told} consensuses.",
        )


def _check_owner(claim: ClaimFact, users: Mapping[str, UserFact], bench: _Bench) -> None:
    owner = users.get(claim.owner)
    if owner is None:
        return
    told = Counter(note.data.get("validation_id") for note in _about(owner, "validation_received", claim.id))
    stored = Counter(row.id for row in claim.validations)
    bench.law(
        told == stored,
        f"claim {claim.id}: its owner was told of {told.total()} validations, {stored.total()} are stored.",
    )


def _check_notes(user: UserFact, bench: _Bench) -> None:
    seqs = [note.seq for note in user.notes]
    bench.law(
        seqs == list(range(1, user.last_seq + 1)),
        f"user {user.id}: its {len(seqs)} notifications are not 1..{user.last_seq} without holes.",
    )
    ids = {note.id for note in user.notes}
    bench.law(len(ids) == len(user.notes), f"user {user.id}: two notifications have one id.")


def _check_trust(user: UserFact, bench: _Bench) -> None:
    changes = [note for note in user.notes if note.type == "trust_score_updated"]
    per_claim = Counter(note.data.get("claim_id") for note in changes)
    bench.law(
        max(per_claim.values(), default=0) <= 1, f"user {user.id}: one claim moved the trust score twice."
    )
    score = START_SCORE
    chained = True
    for note in changes:
        chained = chained and note.data.get("old_score") == score
        score += int(note.data.get("change", 0))
        chained = chained and note.data.get("new_score") == score
    bench.law(chained, f"user {user.id}: a trust change does not begin where the one before ended.")
    bench.law(
        score == user.trust_score,
        f"user {user.id}: the trust score is {user.trust_score}, its changes add up to {score}.",
    )
    bench.law(
        0 <= user.trust_score <= 100, f"user {user.id}: the trust score {user.trust_score} is no score."
    )


def _check_badges(user: UserFact, bench: _Bench) -> None:
    told = Counter(str(note.data.get("badge_id")) for note in user.notes if note.type == "badge_earned")
    held = Counter(user.badges)
    bench.law(max(held.values(), default=0) <= 1, f"user {user.id}: holds a badge twice.")
    bench.law(told == held, f"user {user.id}: holds the badges {sorted(held)}, was told of {sorted(told)}.")


def _about(user: UserFact, type_: str, claim_id: str) -> Iterator[NoteFact]:
    return (note for note in user.notes if note.type == type_ and note.data.get("claim_id") == claim_id)
