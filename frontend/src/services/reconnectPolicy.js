/**
 * When to try again. Pure: no timers, randomness is passed in.
 *
 * At most five quick attempts between 1 s and 5 s, then a patient rhythm: a page that was left open
 * over the weekend must not knock every five seconds, and 10,000 clients must not come back in one second.
 */
export const QUICK_ATTEMPTS = 5;
const QUICK_MIN_MS = 1_000;
const QUICK_MAX_MS = 5_000;
const PATIENT_MS = [10_000, 20_000, 30_000];
const PATIENT_SPREAD = 0.2;
const DRAIN_SPREAD = 0.25;

/** @param {number} failures attempts that failed in a row @returns {boolean} */
export function isQuick(failures) {
  return failures < QUICK_ATTEMPTS;
}

/**
 * Pause before the next attempt, ms.
 *
 * Quick: somewhere in 1-2 s, then 2-4 s, then 2.5-5 s; patient: 10 s, 20 s, then always 30 s, plus or
 * minus 20 %.
 *
 * @param {number} failures attempts that failed in a row, 0 right after a drop
 * @param {() => number} random in [0, 1)
 */
export function retryDelayMs(failures, random) {
  if (!isQuick(failures)) {
    const step = Math.min(failures - QUICK_ATTEMPTS, PATIENT_MS.length - 1);
    return PATIENT_MS[step] * (1 + PATIENT_SPREAD * (2 * random() - 1));
  }
  const high = Math.min(2 * QUICK_MIN_MS * 2 ** failures, QUICK_MAX_MS);
  return high / 2 + random() * (high / 2);
}

/**
 * Pause after the server said that it goes away: what it asked for, spread out upwards.
 *
 * @param {number} askedMs @param {() => number} random
 */
export function drainDelayMs(askedMs, random) {
  return Math.max(0, askedMs) * (1 + DRAIN_SPREAD * random());
}
