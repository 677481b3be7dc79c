/** Words and numbers as people read them. Pure. */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** @param {number} unread @returns {string} what fits into the badge */
export function badgeLabel(unread) {
  return unread > 99 ? "99+" : String(unread);
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/**
 * How long ago something was: just now, minutes, hours, days, and a date from a week on.
 *
 * @param {string | number | Date} when @param {number} nowMs
 */
export function timeAgo(when, nowMs) {
  const then = new Date(when).getTime();
  const ageMs = nowMs - then;
  if (Number.isNaN(then)) return "";
  if (ageMs < MINUTE_MS) return "just now";
  if (ageMs < HOUR_MS) return `${plural(Math.floor(ageMs / MINUTE_MS), "minute")} ago`;
  if (ageMs < DAY_MS) return `${plural(Math.floor(ageMs / HOUR_MS), "hour")} ago`;
  if (ageMs < 7 * DAY_MS) return `${plural(Math.floor(ageMs / DAY_MS), "day")} ago`;
  return longDate(then);
}

/** @param {string | number | Date} when */
export function longDate(when) {
  return new Date(when).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

/** The heading under which a notification stands. @param {string} when @param {number} nowMs */
export function dayLabel(when, nowMs) {
  const day = new Date(when).toDateString();
  if (day === new Date(nowMs).toDateString()) return "Today";
  if (day === new Date(nowMs - DAY_MS).toDateString()) return "Yesterday";
  return longDate(when);
}

/** @param {number} percent @returns {string} without a needless decimal */
export function percentLabel(percent) {
  return `${Number.isInteger(percent) ? percent : percent.toFixed(1)}%`;
}

/** @param {string} name */
export function initials(name) {
  const words = name.split(/[\s_.-]+/).filter(Boolean);
  const letters = words.length > 1 ? words[0][0] + words[words.length - 1][0] : (words[0] ?? "?").slice(0, 2);
  return letters.toUpperCase();
}

/** What a user did, for "You …" and "Ana …". */
export const VERBS = Object.freeze({ vouch: "vouched", dispute: "disputed", unsure: "is unsure" });
export const YOUR_VERBS = Object.freeze({
  vouch: "You vouched for this claim.",
  dispute: "You disputed this claim.",
  unsure: "You are unsure about this claim.",
});
export const ACTION_LABELS = Object.freeze({ vouch: "Vouch", dispute: "Dispute", unsure: "Unsure" });
export const STATUS_LABELS = Object.freeze({
  open: "Open",
  verified: "Verified",
  refuted: "Refuted",
  inconclusive: "Inconclusive",
});
export const TYPE_LABELS = Object.freeze({
  validation_received: "Validations",
  consensus_reached: "Consensus",
  badge_earned: "Badges",
  trust_score_updated: "Trust",
  system: "System",
});
