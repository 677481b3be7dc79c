"""What the services need from the outside: Store, Clock, Ids, Emitter. Each method states its guarantee.

Refused requests raise `RefusedError` with the code named here; a store that does not answer within its
timeout raises `UnavailableError` and has written nothing, or everything, of that one call.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from .contracts.types import ClaimId, ClaimStatus, DeliveryClass, NotificationId, UserId, ValidationId
from .domain.consensus import Decision
from .domain.effects import Effect
from .domain.records import Claim, EarnedBadge, Notification, TrustChange, User, Validation

T = TypeVar("T")

Decide = Callable[[Claim], Decision | None]
"""The consensus that a claim amounts to, None if none; pure, called inside a store's transaction."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One bounded page; `next_cursor` is opaque, None on the last page."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Credentials:
    user: User
    password_hash: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A validation that is now stored, and the claim exactly as this validation left it."""

    validation: Validation
    claim: Claim


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What a connect has to know. last_seq: of the user, None if there is no such user."""

    last_seq: int | None
    revoked: bool


@dataclass(frozen=True, slots=True)
class ReadMark:
    """ids: rows that were unread and now are read. up_to_seq: the bound that was used."""

    ids: list[NotificationId]
    up_to_seq: int
    unread_count: int


@dataclass(frozen=True, slots=True)
class History:
    """A run of a user's notifications.

    items: ascending by seq without holes, starting right after the asked position.
    last_seq: the user's newest seq at the same instant.
    complete: False when rows after the asked position no longer exist (or never did: the position is
    ahead of `last_seq`), so that the reader cannot be caught up from here.
    """

    items: list[Notification]
    last_seq: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What one slice of forgetting did. next_position: where the next begins, None after the last."""

    removed: int
    next_position: str | None


class UserRepository(Protocol):
    """Accounts, what they earned, and the tokens that are no longer theirs."""

    async def create_user(self, user: User, password_hash: str) -> None:
        """Raises RefusedError(USERNAME_TAKEN); names are compared without case."""
        ...

    async def create_users(self, users: Sequence[User], password_hash: str) -> None:
        """Insert many new users at once (seeding); all or none. Raises RefusedError(USERNAME_TAKEN)."""
        ...

    async def credentials(self, username: str) -> Credentials | None: ...

    async def user(self, user_id: UserId) -> User | None: ...

    async def badges(self, user_ids: Sequence[UserId]) -> dict[UserId, list[EarnedBadge]]:
        """Badges per user, oldest first; users without one are absent."""
        ...

    async def leaderboard(self, limit: int, cursor: str | None) -> Page[User]:
        """By trust score, then validations (both descending), then id. RefusedError(INVALID_CURSOR)."""
        ...

    async def revoke_token(self, jti: str, expires_at: datetime) -> None:
        """Remember the token id as revoked at least until `expires_at`. Idempotent."""
        ...

    async def is_revoked(self, jti: str) -> bool: ...

    async def newcomers(self, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        """For each (user, token id) what a connect has to know, in this order; read after the call began.

        One read for all, however many.
        """
        ...


class ClaimRepository(Protocol):
    """Claims and their validations."""

    async def create_claim(self, claim: Claim) -> tuple[Claim, bool]:
        """Store a new claim; (claim, True).

        With an `idempotency_key` that this owner used before: (the stored claim, False), nothing written.
        Raises RefusedError(IDEMPOTENCY_KEY_REUSED) if that claim has another title, body, evidence or quorum.
        """
        ...

    async def create_claims(self, claims: Sequence[Claim]) -> None:
        """Insert many new claims at once (seeding); all or none."""
        ...

    async def claim(self, claim_id: ClaimId) -> Claim | None: ...

    async def claims(
        self, limit: int, cursor: str | None, status: ClaimStatus | None, owner_id: UserId | None
    ) -> Page[Claim]:
        """Newest first. Raises RefusedError(INVALID_CURSOR)."""
        ...

    async def record_validation(self, validation: Validation, decide: Decide | None = None) -> Recorded:
        """Atomically: insert the validation, add it to tally and weights, raise the version by one, and
        settle the claim if `decide` finds a consensus in it as this validation leaves it.

        `validation.version` is ignored; the stored one is the new version of the claim. The validation
        stays *pending* until `apply_effects(finishes=validation.id)`.
        Raises RefusedError: CLAIM_NOT_FOUND, OWN_CLAIM, CLAIM_SETTLED, ALREADY_VALIDATED (checked in this
        order); nothing is changed then.
        """
        ...

    async def validation_by(self, claim_id: ClaimId, user_id: UserId) -> Validation | None: ...

    async def validations(self, claim_id: ClaimId, limit: int, cursor: str | None) -> Page[Validation]:
        """Ascending by version. Raises RefusedError(INVALID_CURSOR)."""
        ...

    async def participants(self, claim_id: ClaimId) -> list[Validation]:
        """All validations of the claim, ascending by version."""
        ...

    async def settle(
        self, claim_id: ClaimId, version: int, decision: Decision, settled_at: datetime
    ) -> Claim | None:
        """Settle an open claim that is still at `version`; the settled claim, or None for all other callers.

        Exactly one caller ever wins. The claim stays *pending* until `apply_effects(finishes=claim_id)`.
        """
        ...

    async def pending_validations(self, before: datetime, limit: int) -> list[Validation]:
        """Validations created before `before` whose processing was not finished, oldest first."""
        ...

    async def pending_settlements(self, before: datetime, limit: int) -> list[Claim]:
        """Claims settled before `before` whose effects were not all applied, oldest first."""
        ...

    async def claims_moved(self, since: datetime, limit: int) -> list[ClaimId]:
        """Claims validated at or after `since`, the most recently validated first, each once."""
        ...


class EffectRepository(Protocol):
    """What validations and settlements do to users: each effect exactly once."""

    async def apply_effects(
        self, effects: Sequence[Effect], finishes: ValidationId | ClaimId | None = None
    ) -> list[Notification]:
        """Apply each effect whose key was never applied (`domain.effects.advance`, one transaction per user).

        Returns only the notifications that this call made, in order of effects; each user's seqs continue
        without a hole. When all are applied, `finishes` (a validation, a settled claim) is no longer pending.
        A crash in the middle leaves whole effects only; calling again completes it.
        Raises RefusedError(USER_NOT_FOUND) if a user does not exist; effects before it stay applied.
        """
        ...

    async def trust_changes(self, claim_id: ClaimId) -> list[TrustChange]:
        """One per participant and owner of a settled claim once it is no longer pending."""
        ...

    async def trim_effects(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        """Forget that effects were applied before `before`, among the next `limit` after `position`.

        Kept are trust changes, and all while a validation or settlement from before `before` is unfinished:
        nothing that may be applied again is ever forgotten.
        """
        ...


class NotificationRepository(Protocol):
    """Each user's notifications, numbered without a hole."""

    async def notifications(
        self,
        user_id: UserId,
        *,
        after_seq: int | None = None,
        before_seq: int | None = None,
        unread_only: bool = False,
        limit: int,
    ) -> list[Notification]:
        """`after_seq` given: ascending; otherwise descending from `before_seq` (exclusive) or the newest."""
        ...

    async def history(self, user_id: UserId, after_seq: int, limit: int) -> History:
        """What a client that has everything up to `after_seq` missed, read in one consistent view."""
        ...

    async def last_seqs(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        """Newest seq per user, 0 when none; unknown users are absent. One round trip."""
        ...

    async def unread_count(self, user_id: UserId) -> int: ...

    async def mark_read(self, user_id: UserId, notification_id: NotificationId) -> ReadMark:
        """Idempotent. Raises RefusedError(NOTIFICATION_NOT_FOUND) also for another user's row."""
        ...

    async def mark_all_read(self, user_id: UserId, up_to_seq: int | None) -> ReadMark:
        """Mark everything up to the bound (None: the newest at this moment)."""
        ...

    async def trim_notifications(self, before: datetime, position: str | None, limit: int) -> Trimmed:
        """Forget what was made before `before`, for the next `limit` users after `position` (None: first).

        Always a user's oldest rows without a gap between them, some thousand at most: who asks for a history
        from before them is told that it is incomplete. Unread rows that go are no longer counted.
        """
        ...


Lifecycle = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Store:
    """Durable state: four repositories over one connection.

    Every write is atomic and durable when the call returns; every list is bounded.

    open: connect, create or check the schema. Raises SetupError with what to do, or UnavailableError.
    close: finish what was accepted, then let go of all resources. Idempotent.
    ping: return when the store can read and write. Raises UnavailableError.
    """

    open: Lifecycle
    close: Lifecycle
    ping: Lifecycle
    users: UserRepository
    claims: ClaimRepository
    effects: EffectRepository
    notifications: NotificationRepository


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall-clock time, timezone-aware UTC."""
        ...


class Ids(Protocol):
    def new(self) -> str:
        """A fresh id: URL-safe, at most 64 characters, ascending enough to sort pages by creation."""
        ...


@dataclass(frozen=True, slots=True)
class Push:
    """One fact on its way to one room: one or more events that belong together and stay together.

    events: (name, JSON-able payload as the contract shapes it), in sending order.
    key: for snapshots, what the latest value replaces (for example the claim); None otherwise.
    version: for snapshots, higher wins; for durable events, the seq.
    born_s: when the request was accepted that made it a fact, wall-clock seconds; 0.0: not measured.
    """

    room: str
    events: tuple[tuple[str, Mapping[str, Any]], ...]
    delivery: DeliveryClass
    key: str | None = None
    version: int = 0
    born_s: float = 0.0


class Emitter(Protocol):
    """The way to the sockets."""

    def push(self, pushes: Sequence[Push]) -> None:
        """Hand events over for delivery on all nodes, in this order; never waits, never raises.

        Bounded: what finds no place is counted and healed by replay (durable) or by the next version.
        """
        ...
