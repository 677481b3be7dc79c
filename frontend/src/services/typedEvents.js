/**
 * The typed event of a notification.
 *
 * The server sends each durable fact twice: as `new_notification` and as a typed event with the same seq. When
 * the fact comes by `sync`, only the first form comes; this makes the second one from it, so that a listener of
 * `badge_earned` misses nothing.
 *
 * @typedef {import("../contracts.generated.js").NewNotification} NewNotification
 */
import { NOTIFICATION_TYPE, SERVER_EVENTS } from "../contracts.generated.js";

/** @type {Record<string, { event: string, fields: string[] }>} */
const FORMS = {
  [NOTIFICATION_TYPE.VALIDATION_RECEIVED]: {
    event: SERVER_EVENTS.VALIDATION_RECEIVED,
    fields: ["validator_name", "action", "claim_id"],
  },
  [NOTIFICATION_TYPE.CONSENSUS_REACHED]: {
    event: SERVER_EVENTS.CONSENSUS_REACHED,
    fields: ["claim_id", "action", "percentage"],
  },
  [NOTIFICATION_TYPE.BADGE_EARNED]: {
    event: SERVER_EVENTS.BADGE_EARNED,
    fields: ["badge_name", "badge_id"],
  },
  [NOTIFICATION_TYPE.TRUST_SCORE_UPDATED]: {
    event: SERVER_EVENTS.TRUST_SCORE_UPDATE,
    fields: ["old_score", "new_score", "change"],
  },
};

export const TYPED_EVENTS = Object.freeze(Object.values(FORMS).map((form) => form.event));

/**
 * @param {NewNotification} notification
 * @returns {{ event: string, data: Record<string, any> } | null} null for a type without a typed event
 */
export function typedEventOf(notification) {
  const form = FORMS[notification.type];
  const facts = notification.data ?? {};
  if (!form || form.fields.some((field) => facts[field] === undefined)) return null;
  const data = { id: notification.id, seq: notification.seq };
  return { event: form.event, data: Object.assign(data, ...form.fields.map((field) => ({ [field]: facts[field] }))) };
}
