// Generated from backend/app/contracts by `python -m backend.app.contracts.generate`. Do not edit.

export const CONTRACT_VERSION = 1;
export const SOCKETIO_PATH = "/ws/socket.io/";
export const MAX_SYNC_ITEMS = 500;

export const CLIENT_EVENTS = Object.freeze({
  AUTHENTICATE: "authenticate",
  PING: "ping",
  GET_STATUS: "get_status",
  WATCH_CLAIM: "watch_claim",
  UNWATCH_CLAIM: "unwatch_claim",
  SYNC: "sync",
  REAUTH: "reauth",
});

export const SERVER_EVENTS = Object.freeze({
  CONNECTION_ESTABLISHED: "connection_established",
  AUTHENTICATED: "authenticated",
  AUTH_ERROR: "auth_error",
  NEW_NOTIFICATION: "new_notification",
  VALIDATION_RECEIVED: "validation_received",
  CONSENSUS_REACHED: "consensus_reached",
  BADGE_EARNED: "badge_earned",
  TRUST_SCORE_UPDATE: "trust_score_update",
  NOTIFICATION_READ: "notification_read",
  VALIDATION_COUNT_UPDATE: "validation_count_update",
  CONSENSUS_UPDATE: "consensus_update",
  PONG: "pong",
  STATUS: "status",
  SERVER_DRAINING: "server_draining",
  TOKEN_EXPIRING: "token_expiring",
});

/** Server events that are stored, numbered by `seq` and replayed. */
export const DURABLE_EVENTS = Object.freeze(["new_notification", "validation_received", "consensus_reached", "badge_earned", "trust_score_update"]);

export const ACTION = Object.freeze({
  VOUCH: "vouch",
  DISPUTE: "dispute",
  UNSURE: "unsure",
});

export const CLAIM_STATUS = Object.freeze({
  OPEN: "open",
  VERIFIED: "verified",
  REFUTED: "refuted",
  INCONCLUSIVE: "inconclusive",
});

export const NOTIFICATION_TYPE = Object.freeze({
  VALIDATION_RECEIVED: "validation_received",
  CONSENSUS_REACHED: "consensus_reached",
  BADGE_EARNED: "badge_earned",
  TRUST_SCORE_UPDATED: "trust_score_updated",
  SYSTEM: "system",
});

export const PRIORITY = Object.freeze({
  URGENT: "urgent",
  HIGH: "high",
  MEDIUM: "medium",
  LOW: "low",
});

export const LIVE_SCOPE = Object.freeze({
  ALL: "all",
  WATCHED: "watched",
});

export const CODE = Object.freeze({
  INVALID_INPUT: "invalid_input",
  INVALID_CURSOR: "invalid_cursor",
  BODY_TOO_LARGE: "body_too_large",
  UNKNOWN_EVENT: "unknown_event",
  NOT_FOUND: "not_found",
  METHOD_NOT_ALLOWED: "method_not_allowed",
  NOT_AUTHENTICATED: "not_authenticated",
  INVALID_TOKEN: "invalid_token",
  TOKEN_EXPIRED: "token_expired",
  TOKEN_REVOKED: "token_revoked",
  WRONG_SUBJECT: "wrong_subject",
  ALREADY_AUTHENTICATED: "already_authenticated",
  WRONG_CREDENTIALS: "wrong_credentials",
  WEAK_PASSWORD: "weak_password",
  FORBIDDEN: "forbidden",
  USERNAME_TAKEN: "username_taken",
  CLAIM_NOT_FOUND: "claim_not_found",
  USER_NOT_FOUND: "user_not_found",
  NOTIFICATION_NOT_FOUND: "notification_not_found",
  OWN_CLAIM: "own_claim",
  ALREADY_VALIDATED: "already_validated",
  CLAIM_SETTLED: "claim_settled",
  IDEMPOTENCY_KEY_REUSED: "idempotency_key_reused",
  TOO_MANY_WATCHES: "too_many_watches",
  TOO_MANY_SOCKETS: "too_many_sockets",
  RATE_LIMITED: "rate_limited",
  STORE_UNAVAILABLE: "store_unavailable",
  DRAINING: "draining",
  INTERNAL: "internal",
});

export const STATUS_OF_ACTION = Object.freeze({
  vouch: "verified",
  dispute: "refuted",
  unsure: "inconclusive",
});

/**
 * What a validator answers to a claim.
 * @typedef {"vouch" | "dispute" | "unsure"} Action
 */

/**
 * @typedef {object} AuthError
 * @property {number} [v]
 * @property {string} message
 * @property {Code} code
 */

/**
 * @typedef {object} Authenticate
 * @property {string} token
 * @property {string | null} [user_id]
 * @property {number | null} [last_seq]
 */

/**
 * The socket is its user's from here on.
 *
 * last_seq: the user's newest notification when the socket joined its room; a later durable event with
 * `seq <= last_seq` is a replay, one above it is live.
 * recovered: answer to the client's own `last_seq`: true, the missed events follow in order (`more`: only
 * the first of them, ask `sync` for the rest); false, the hole cannot be closed, reload over REST; null,
 * the client did not say where it stood.
 * @typedef {object} Authenticated
 * @property {number} [v]
 * @property {string} user_id
 * @property {string} message
 * @property {number} last_seq
 * @property {boolean | null} [recovered]
 * @property {boolean} [more]
 */

/**
 * @typedef {object} BadgeCatalog
 * @property {Array<BadgeOut>} items
 */

/**
 * @typedef {object} BadgeEarned
 * @property {number} [v]
 * @property {string} id
 * @property {number} seq
 * @property {string} badge_name
 * @property {string} badge_id
 */

/**
 * @typedef {object} BadgeOut
 * @property {string} badge_id
 * @property {string} badge_name
 * @property {string} description
 */

/**
 * @typedef {object} ClaimOut
 * @property {string} id
 * @property {string} owner_id
 * @property {string} owner_name
 * @property {string} title
 * @property {string} body
 * @property {Array<string>} evidence_urls
 * @property {number} quorum
 * @property {ClaimStatus} status
 * @property {TallyOut} tally
 * @property {PercentagesOut} percentages
 * @property {number} version
 * @property {ConsensusOut | null} consensus
 * @property {string} created_at
 * @property {string | null} settled_at
 */

/**
 * @typedef {object} ClaimPage
 * @property {Array<ClaimOut>} items
 * @property {string | null} next_cursor
 */

/**
 * Ack of `watch_claim`: shares in percent, `count` validations, at `version`.
 * @typedef {object} ClaimSnapshot
 * @property {number} [v]
 * @property {string} claim_id
 * @property {number} version
 * @property {number} count
 * @property {number} vouch
 * @property {number} dispute
 * @property {number} unsure
 * @property {ClaimStatus} status
 */

/**
 * `open` until the consensus; the other three are final.
 * @typedef {"open" | "verified" | "refuted" | "inconclusive"} ClaimStatus
 */

/**
 * @typedef {"invalid_input" | "invalid_cursor" | "body_too_large" | "unknown_event" | "not_found" | "method_not_allowed" | "not_authenticated" | "invalid_token" | "token_expired" | "token_revoked" | "wrong_subject" | "already_authenticated" | "wrong_credentials" | "weak_password" | "forbidden" | "username_taken" | "claim_not_found" | "user_not_found" | "notification_not_found" | "own_claim" | "already_validated" | "claim_settled" | "idempotency_key_reused" | "too_many_watches" | "too_many_sockets" | "rate_limited" | "store_unavailable" | "draining" | "internal"} Code
 */

/**
 * The CONNECT payload. Unknown keys are ignored: other clients put their own things here.
 * @typedef {object} ConnectAuth
 * @property {string | null} [token]
 * @property {number | null} [last_seq]
 * @property {LiveScope} [live]
 */

/**
 * @typedef {object} ConnectionEstablished
 * @property {number} [v]
 * @property {string} session_id
 */

/**
 * @typedef {object} ConsensusOut
 * @property {Action} action
 * @property {number} percentage
 */

/**
 * @typedef {object} ConsensusReached
 * @property {number} [v]
 * @property {string} id
 * @property {number} seq
 * @property {string} claim_id
 * @property {Action} action
 * @property {number} percentage
 */

/**
 * Shares in percent (one decimal, summing to 100.0), and the status that this version has.
 * @typedef {object} ConsensusUpdate
 * @property {number} [v]
 * @property {string} claim_id
 * @property {number} vouch
 * @property {number} dispute
 * @property {number} unsure
 * @property {number} version
 * @property {ClaimStatus} status
 */

/**
 * @typedef {object} EarnedBadgeOut
 * @property {string} badge_id
 * @property {string} badge_name
 * @property {string} earned_at
 */

/**
 * @typedef {object} ErrorAck
 * @property {ErrorBody} error
 */

/**
 * @typedef {object} ErrorBody
 * @property {Code} code
 * @property {string} message
 */

/**
 * @typedef {object} FieldProblem
 * @property {string} field
 * @property {string} message
 */

/**
 * @typedef {object} Leaderboard
 * @property {Array<RankOut>} items
 * @property {string | null} next_cursor
 */

/**
 * Which live updates a socket receives: all claims, or only those it watches.
 * @typedef {"all" | "watched"} LiveScope
 */

/**
 * @typedef {object} Login
 * @property {string} username
 * @property {string} password
 */

/**
 * @typedef {object} MeOut
 * @property {string} id
 * @property {string} username
 * @property {string} display_name
 * @property {number} trust_score
 * @property {number} validations
 * @property {number} consensus_count
 * @property {number} accurate_streak
 * @property {number} claims_verified
 * @property {Array<EarnedBadgeOut>} badges
 * @property {string} created_at
 * @property {number} last_seq
 * @property {number} unread_count
 */

/**
 * @typedef {object} NewNotification
 * @property {number} [v]
 * @property {string} id
 * @property {number} seq
 * @property {NotificationType} type
 * @property {string} title
 * @property {string} message
 * @property {Priority} priority
 * @property {string | null} action_url
 * @property {Record<string, any>} data
 * @property {boolean} read
 * @property {string} created_at
 */

/**
 * `ping` and `get_status` carry no data.
 * @typedef {object} Nothing
 */

/**
 * @typedef {object} NotificationOut
 * @property {string} id
 * @property {number} seq
 * @property {NotificationType} type
 * @property {string} title
 * @property {string} message
 * @property {Priority} priority
 * @property {string | null} action_url
 * @property {Record<string, any>} data
 * @property {boolean} read
 * @property {string} created_at
 */

/**
 * `after_seq` pages ascend, all others descend from the newest; `more` says that the bound cut it.
 * @typedef {object} NotificationPage
 * @property {Array<NotificationOut>} items
 * @property {number} last_seq
 * @property {number} unread_count
 * @property {boolean} more
 */

/**
 * Either the ids that were read, or the seq up to which everything was.
 * @typedef {object} NotificationRead
 * @property {number} [v]
 * @property {Array<string> | null} [ids]
 * @property {number | null} [up_to_seq]
 * @property {number} unread_count
 */

/**
 * @typedef {"validation_received" | "consensus_reached" | "badge_earned" | "trust_score_updated" | "system"} NotificationType
 */

/**
 * Shares in percent, one decimal; they sum to 100.0, or are all 0.0 before the first validation.
 * @typedef {object} PercentagesOut
 * @property {number} vouch
 * @property {number} dispute
 * @property {number} unsure
 */

/**
 * @typedef {object} Pong
 * @property {number} [v]
 * @property {number} server_time_ms
 * @property {number | null} last_seq
 */

/**
 * @typedef {object} PostClaim
 * @property {string} title
 * @property {string} [body]
 * @property {Array<string>} [evidence_urls]
 * @property {number | null} [quorum]
 */

/**
 * @typedef {object} PostValidation
 * @property {Action} action
 * @property {string | null} [comment]
 */

/**
 * @typedef {"urgent" | "high" | "medium" | "low"} Priority
 */

/**
 * RFC 9457 problem document; `code` is stable, the texts are for people.
 * @typedef {object} Problem
 * @property {string} type
 * @property {string} title
 * @property {number} status
 * @property {string} detail
 * @property {string} code
 * @property {string | null} [instance]
 * @property {Array<FieldProblem> | null} [errors]
 */

/**
 * @typedef {object} RankOut
 * @property {number} rank
 * @property {UserOut} user
 */

/**
 * @typedef {object} ReadAll
 * @property {number | null} [up_to_seq]
 */

/**
 * @typedef {object} ReadAllOut
 * @property {number} up_to_seq
 * @property {number} changed
 * @property {number} unread_count
 */

/**
 * @typedef {object} ReadOut
 * @property {string} id
 * @property {number} unread_count
 */

/**
 * @typedef {object} Reauth
 * @property {string} token
 */

/**
 * @typedef {object} Register
 * @property {string} username
 * @property {string} password
 * @property {string | null} [display_name]
 */

/**
 * @typedef {object} ServerDraining
 * @property {number} [v]
 * @property {number} reconnect_after_ms
 */

/**
 * @typedef {object} ServiceOut
 * @property {"vouchstorm"} [service]
 * @property {string} version
 * @property {"/ws"} [websocket]
 * @property {string} node
 * @property {string} [docs]
 * @property {string} [app]
 */

/**
 * @typedef {object} SessionOut
 * @property {UserOut} user
 * @property {string} token
 * @property {"bearer"} [token_type]
 * @property {string} expires_at
 */

/**
 * @typedef {object} Status
 * @property {number} [v]
 * @property {number} connected_users
 * @property {string} session_id
 * @property {string} node
 */

/**
 * @typedef {object} Sync
 * @property {number} after_seq
 * @property {number} [limit]
 */

/**
 * Ack of `sync`.
 *
 * recovered false: the hole cannot be closed from here, reload over REST. Never silent.
 * items: ascending by seq, without holes, from `from_seq` to `to_seq` (0 and 0 when empty).
 * more: ask again with `after_seq = to_seq`.
 * @typedef {object} Synced
 * @property {number} [v]
 * @property {boolean} recovered
 * @property {number} from_seq
 * @property {number} to_seq
 * @property {Array<NewNotification>} items
 * @property {boolean} more
 * @property {number} last_seq
 */

/**
 * @typedef {object} TallyOut
 * @property {number} vouch
 * @property {number} dispute
 * @property {number} unsure
 * @property {number} total
 */

/**
 * @typedef {object} TokenExpiring
 * @property {number} [v]
 * @property {number} expires_in_s
 */

/**
 * @typedef {object} TrustScoreUpdate
 * @property {number} [v]
 * @property {string} id
 * @property {number} seq
 * @property {number} old_score
 * @property {number} new_score
 * @property {number} change
 */

/**
 * @typedef {object} UnreadOut
 * @property {number} unread_count
 */

/**
 * The empty ack `{}`.
 * @typedef {object} Unwatched
 */

/**
 * @typedef {object} UserOut
 * @property {string} id
 * @property {string} username
 * @property {string} display_name
 * @property {number} trust_score
 * @property {number} validations
 * @property {number} consensus_count
 * @property {number} accurate_streak
 * @property {number} claims_verified
 * @property {Array<EarnedBadgeOut>} badges
 * @property {string} created_at
 */

/**
 * Answer to a posted validation: the row, and the claim as it stands right after it.
 * @typedef {object} ValidatedOut
 * @property {ValidationOut} validation
 * @property {ClaimOut} claim
 */

/**
 * @typedef {object} ValidationCountUpdate
 * @property {number} [v]
 * @property {string} claim_id
 * @property {number} count
 * @property {number} version
 */

/**
 * @typedef {object} ValidationOut
 * @property {string} id
 * @property {string} claim_id
 * @property {string} user_id
 * @property {string} validator_name
 * @property {Action} action
 * @property {string | null} comment
 * @property {number} version
 * @property {string} created_at
 */

/**
 * @typedef {object} ValidationPage
 * @property {Array<ValidationOut>} items
 * @property {string | null} next_cursor
 */

/**
 * @typedef {object} ValidationReceived
 * @property {number} [v]
 * @property {string} id
 * @property {number} seq
 * @property {string} validator_name
 * @property {Action} action
 * @property {string} claim_id
 */

/**
 * @typedef {object} WatchClaim
 * @property {string} claim_id
 */
