"""Users, claims and validations to start with: planned from one seed, written through the store port.

The same seed gives the same names, ids, titles and answers.
"""

import json
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from .contracts.types import Action, ClaimId, UserId
from .domain.records import Claim, User
from .errors import RefusedError, SetupError
from .ports import Store
from .services.consensus_engine import ConsensusEngine
from .services.tokens import Tokens

_NAMESPACE = uuid.UUID("0b8c9b1e-6f0c-4d5e-9a55-3f4b7f4f2c10")
_BATCH = 500
SEED_PASSWORD = "vouchstorm-demo"  # noqa: S105 - the documented password of seeded demo users

_FIRST = [
    "Ada", "Alan", "Amara", "Ben", "Chen", "Dana", "Edsger", "Fatima", "Grace", "Hana", "Ivan", "Jun",
    "Katherine", "Leslie", "Margaret", "Nils", "Olga", "Priya", "Radia", "Sofia", "Tim", "Uma", "Vint",
    "Wei", "Ximena", "Yuki", "Zoe",
]  # fmt: skip
_LAST = [
    "Abara", "Berg", "Costa", "Dijk", "Eriksen", "Farah", "Garcia", "Haddad", "Ito", "Jansen", "Kim",
    "Lund", "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Sato", "Torres", "Ueda", "Varga",
    "Weiss", "Xu", "Yilmaz", "Zhang",
]  # fmt: skip
_SUBJECTS = (
    "The bridge on Mill Road",
    "The new bus line",
    "The harbour's water",
    "The school's solar roof",
    "The old cinema",
    "The city's tree count",
    "The night market",
    "The river path",
)
_STATEMENTS = (
    "was closed for repairs on Monday",
    "is used by twice as many people as last year",
    "was measured as safe in spring",
    "pays for itself within eight years",
    "will reopen before winter",
    "is larger than the council says",
    "was paid for by residents alone",
    "is lit by night since May",
)


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """What to write. answers: (user index, claim index, action) in posting order."""

    users: list[User]
    claims: list[Claim]
    answers: list[tuple[int, int, Action]]


@dataclass(frozen=True, slots=True)
class SeedSize:
    """quorum: of every claim. prefix: of every username, so that several seeds share a store."""

    users: int
    claims: int
    validations: int = 0
    quorum: int = 3
    prefix: str = "user"


def plan_seed(size: SeedSize, seed: int, now: datetime) -> SeedPlan:
    """Plan users, claims and answers. Claims belong to users in turn; nobody answers twice or themselves.

    Raises SetupError when so many validations do not fit.
    """
    if size.claims and not size.users:
        raise SetupError("Claims need owners: seed at least one user.")
    room = size.claims * max(0, size.users - 1)
    if size.validations > room:
        raise SetupError(f"At most {room} validations fit {size.users} users and {size.claims} claims.")
    rng = random.Random(seed)
    users = [_user(size.prefix, seed, number, rng, now) for number in range(size.users)]
    claims = [
        _claim(size, seed, number, users[number % len(users)], rng, now + timedelta(microseconds=number))
        for number in range(size.claims)
    ]
    return SeedPlan(users, claims, list(_answers(size, rng)))


def _user(prefix: str, seed: int, number: int, rng: random.Random, now: datetime) -> User:
    username = f"{prefix}{number:05d}"
    return User(
        id=UserId(uuid.uuid5(_NAMESPACE, f"{seed}:{prefix}:user:{number}").hex),
        username=username,
        display_name=f"{rng.choice(_FIRST)} {rng.choice(_LAST)}",
        created_at=now,
    )


def _claim(size: SeedSize, seed: int, number: int, owner: User, rng: random.Random, now: datetime) -> Claim:
    subject, statement = rng.choice(_SUBJECTS), rng.choice(_STATEMENTS)
    return Claim(
        id=ClaimId(uuid.uuid5(_NAMESPACE, f"{seed}:{size.prefix}:claim:{number}").hex),
        owner_id=owner.id,
        owner_name=owner.display_name,
        title=f"{subject} {statement}",
        body=f"{subject} {statement}. Do you know better, or can you confirm it?",
        evidence_urls=(),
        quorum=size.quorum,
        created_at=now,
    )


def _answers(size: SeedSize, rng: random.Random) -> Iterator[tuple[int, int, Action]]:
    """A sample of all pairs, by their numbers: there may be billions, and none is made that is not drawn."""
    others = size.users - 1
    for number in rng.sample(range(size.claims * max(0, others)), size.validations):
        claim, user = divmod(number, others)
        owner = claim % size.users
        yield user if user < owner else user + 1, claim, rng.choices(list(Action), weights=(7, 2, 1))[0]


async def write_seed(
    plan: SeedPlan,
    store: Store,
    engine: ConsensusEngine,
    password_hash: str,
    progress: Callable[[str, int, int], None],
) -> int:
    """Write a plan; how many answers were accepted (answers to claims settled meanwhile are refused).

    progress: told (what, done, total).
    Raises SetupError when these users exist already.
    """
    for start in range(0, len(plan.users), _BATCH):
        try:
            await store.users.create_users(plan.users[start : start + _BATCH], password_hash)
        except RefusedError as error:
            raise SetupError(
                "Users of these names exist already; choose another --prefix or a fresh --data-dir."
            ) from error
        progress("users", min(start + _BATCH, len(plan.users)), len(plan.users))
    for start in range(0, len(plan.claims), _BATCH):
        await store.claims.create_claims(plan.claims[start : start + _BATCH])
        progress("claims", min(start + _BATCH, len(plan.claims)), len(plan.claims))
    accepted = 0
    for number, (user, claim, action) in enumerate(plan.answers, 1):
        try:
            await engine.process_validation(
                claim_id=plan.claims[claim].id, user=plan.users[user], action=action
            )
            accepted += 1
        except RefusedError:
            pass  # settled by an earlier answer
        if number % 50 == 0 or number == len(plan.answers):
            progress("validations", number, len(plan.answers))
    return accepted


def write_tokens(path: Path, users: Sequence[User], tokens: Tokens) -> None:
    """One JSON object a line: user_id, username, token. Readable by the owner only. Raises SetupError."""
    _write_lines(
        path,
        (
            {"user_id": user.id, "username": user.username, "token": tokens.issue(user.id).token}
            for user in users
        ),
    )


def write_claims(path: Path, claims: Sequence[Claim]) -> None:
    """One JSON object a line: claim_id, owner_id, quorum. Raises SetupError."""
    _write_lines(
        path,
        ({"claim_id": claim.id, "owner_id": claim.owner_id, "quorum": claim.quorum} for claim in claims),
    )


def _write_lines(path: Path, rows: Iterator[dict[str, object]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    except OSError as error:
        raise SetupError(f"Cannot write {path}: {error.strerror}.") from error
