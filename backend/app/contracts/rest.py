"""REST request and response bodies."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from .types import Action, ClaimStatus, NotificationType, Priority


class Body(BaseModel):
    """A request body: unknown keys are refused, so that a typing error is never silently ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Out(BaseModel):
    """A response body."""

    model_config = ConfigDict(frozen=True)


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    return text


def _http_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return text


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode text") from error
    return text


Text = Annotated[str, AfterValidator(_no_nul), AfterValidator(_encodable)]
Username = Annotated[
    str, StringConstraints(min_length=3, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]
Password = Annotated[Text, StringConstraints(min_length=8, max_length=128, strip_whitespace=False)]
Title = Annotated[Text, StringConstraints(min_length=3, max_length=200)]
LongText = Annotated[Text, StringConstraints(max_length=10_000)]
EvidenceUrl = Annotated[Text, StringConstraints(max_length=2_000), AfterValidator(_http_url)]
Comment = Annotated[Text, StringConstraints(max_length=1_000)]

MAX_QUORUM = 100_000


class Register(Body):
    username: Username
    password: Password
    display_name: Annotated[Text, StringConstraints(min_length=1, max_length=64)] | None = None


class Login(Body):
    username: Annotated[Text, StringConstraints(min_length=1, max_length=64)]
    password: Annotated[Text, StringConstraints(min_length=1, max_length=128, strip_whitespace=False)]


class PostClaim(Body):
    title: Title
    body: LongText = ""
    evidence_urls: Annotated[list[EvidenceUrl], Field(max_length=10)] = []
    quorum: Annotated[int, Field(ge=1, le=MAX_QUORUM, strict=True)] | None = None


class PostValidation(Body):
    action: Action
    comment: Comment | None = None


class ReadAll(Body):
    up_to_seq: Annotated[int, Field(ge=0, strict=True)] | None = None


class BadgeOut(Out):
    badge_id: str
    badge_name: str
    description: str


class EarnedBadgeOut(Out):
    badge_id: str
    badge_name: str
    earned_at: datetime


class UserOut(Out):
    id: str
    username: str
    display_name: str
    trust_score: int
    validations: int
    consensus_count: int
    accurate_streak: int
    claims_verified: int
    badges: list[EarnedBadgeOut]
    created_at: datetime


class MeOut(UserOut):
    last_seq: int
    unread_count: int


class SessionOut(Out):
    user: UserOut
    token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_at: datetime


class TallyOut(Out):
    vouch: int
    dispute: int
    unsure: int
    total: int


class PercentagesOut(Out):
    """Shares in percent, one decimal; they sum to 100.0, or are all 0.0 before the first validation."""

    vouch: float
    dispute: float
    unsure: float


class ConsensusOut(Out):
    action: Action
    percentage: float


class ClaimOut(Out):
    id: str
    owner_id: str
    owner_name: str
    title: str
    body: str
    evidence_urls: list[str]
    quorum: int
    status: ClaimStatus
    tally: TallyOut
    percentages: PercentagesOut
    version: int
    consensus: ConsensusOut | None
    created_at: datetime
    settled_at: datetime | None


class ClaimPage(Out):
    items: list[ClaimOut]
    next_cursor: str | None


class ValidationOut(Out):
    id: str
    claim_id: str
    user_id: str
    validator_name: str
    action: Action
    comment: str | None
    version: int
    created_at: datetime


class ValidationPage(Out):
    items: list[ValidationOut]
    next_cursor: str | None


class ValidatedOut(Out):
    """Answer to a posted validation: the row, and the claim as it stands right after it."""

    validation: ValidationOut
    claim: ClaimOut


class NotificationOut(Out):
    id: str
    seq: int
    type: NotificationType
    title: str
    message: str
    priority: Priority
    action_url: str | None
    data: dict[str, Any]
    read: bool
    created_at: datetime


class NotificationPage(Out):
    """`after_seq` pages ascend, all others descend from the newest; `more` says that the bound cut it."""

    items: list[NotificationOut]
    last_seq: int
    unread_count: int
    more: bool


class UnreadOut(Out):
    unread_count: int


class ReadOut(Out):
    id: str
    unread_count: int


class ReadAllOut(Out):
    up_to_seq: int
    changed: int
    unread_count: int


class RankOut(Out):
    rank: int
    user: UserOut


class Leaderboard(Out):
    items: list[RankOut]
    next_cursor: str | None


class BadgeCatalog(Out):
    items: list[BadgeOut]


class ServiceOut(Out):
    service: Literal["vouchstorm"] = "vouchstorm"
    version: str
    websocket: Literal["/ws"] = "/ws"
    node: str
    docs: str = "/docs"
    app: str = "/app/"


class FieldProblem(Out):
    field: str
    message: str


class Problem(Out):
    """RFC 9457 problem document; `code` is stable, the texts are for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str | None = None
    errors: list[FieldProblem] | None = None

    @classmethod
    def of(cls, code: str, status: int, detail: str | None = None, **more: Any) -> "Problem":
        """The document of a code. detail: None repeats the title."""
        title = code.replace("_", " ").capitalize()
        kind = f"urn:vouchstorm:problem:{code}"
        return cls(type=kind, title=title, status=status, detail=detail or f"{title}.", code=code, **more)
