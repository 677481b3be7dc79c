/**
 * Puts a user's notifications in order: each seq once, ascending, without holes.
 *
 * Pure bookkeeping. It never asks for anything: `offer` says when there is a hole, and the owner fetches.
 *
 * @typedef {import("../contracts.generated.js").NewNotification} NewNotification
 */

const HELD_LIMIT = 500;

export class OrderedInbox {
  constructor() {
    /** Seq up to which everything was released; null before the first position is known. @type {number | null} */
    this.cursor = null;
    this.duplicates = 0;
    /** Arrived before their predecessors. @type {Map<number, NewNotification>} */
    this.held = new Map();
  }

  /** True when something arrived that cannot be released yet. */
  get hasHole() {
    return this.cursor !== null && this.held.size > 0;
  }

  /**
   * Take one notification; the ones that can now be released, in order.
   *
   * Beyond 500 held ones further arrivals are let go: the fetch that closes the hole brings them again.
   *
   * @param {NewNotification} notification
   * @returns {NewNotification[]}
   */
  offer(notification) {
    const { seq } = notification;
    if ((this.cursor !== null && seq <= this.cursor) || this.held.has(seq)) {
      this.duplicates += 1;
      return [];
    }
    if (this.held.size < HELD_LIMIT || seq === (this.cursor ?? -1) + 1) this.held.set(seq, notification);
    return this.#release();
  }

  /**
   * Continue from another position (the first one, or one after a hole that cannot be closed).
   *
   * @param {number} seq
   * @returns {NewNotification[]} held ones that follow it directly
   */
  rebase(seq) {
    this.cursor = seq;
    for (const held of this.held.keys()) if (held <= seq) this.held.delete(held);
    return this.#release();
  }

  /** Forget everything: another user, or signed out. */
  reset() {
    this.cursor = null;
    this.held.clear();
  }

  #release() {
    const ready = [];
    while (this.cursor !== null && this.held.has(this.cursor + 1)) {
      this.cursor += 1;
      ready.push(/** @type {NewNotification} */ (this.held.get(this.cursor)));
      this.held.delete(this.cursor);
    }
    return ready;
  }
}
