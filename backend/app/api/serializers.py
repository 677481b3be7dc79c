"""Records as the contract shows them. Pure: no store, no request."""

from collections.abc import Sequence

from ..contracts import rest
from ..domain.badges import BY_ID
from ..domain.records import Claim, EarnedBadge, Notification, User, Validation
from ..services.websocket_service import shares


def badge_view(badge: EarnedBadge) -> rest.EarnedBadgeOut:
    """A badge that left the catalogue keeps its id as its name."""
    known = BY_ID.get(badge.badge_id)
    return rest.EarnedBadgeOut(
        badge_id=badge.badge_id,
        badge_name=known.name if known else badge.badge_id,
        earned_at=badge.earned_at,
    )


def user_view(user: User, badges: Sequence[EarnedBadge]) -> rest.UserOut:
    """What everybody may see of a user."""
    progress = user.progress
    return rest.UserOut(
        id=user.id,
        username=user.username,
        display_name=user.display_name,
        trust_score=progress.trust_score,
        validations=progress.validations,
        consensus_count=progress.consensus_count,
        accurate_streak=progress.accurate_streak,
        claims_verified=progress.claims_verified,
        badges=[badge_view(badge) for badge in badges],
        created_at=user.created_at,
    )


def claim_view(claim: Claim) -> rest.ClaimOut:
    """A claim with its tally, and the same percentages that the live events carry."""
    tally, share, decision = claim.tally, shares(claim), claim.decision
    return rest.ClaimOut(
        id=claim.id,
        owner_id=claim.owner_id,
        owner_name=claim.owner_name,
        title=claim.title,
        body=claim.body,
        evidence_urls=list(claim.evidence_urls),
        quorum=claim.quorum,
        status=claim.status,
        tally=rest.TallyOut(vouch=tally.vouch, dispute=tally.dispute, unsure=tally.unsure, total=tally.total),
        percentages=rest.PercentagesOut(vouch=share.vouch, dispute=share.dispute, unsure=share.unsure),
        version=claim.version,
        consensus=decision and rest.ConsensusOut(action=decision.action, percentage=decision.percentage),
        created_at=claim.created_at,
        settled_at=claim.settled_at,
    )


def validation_view(validation: Validation) -> rest.ValidationOut:
    """One row; weights and keys stay inside."""
    return rest.ValidationOut.model_validate(validation, from_attributes=True)


def notification_view(notification: Notification) -> rest.NotificationOut:
    """One row of the bell, for its own user only."""
    return rest.NotificationOut.model_validate(notification, from_attributes=True)
