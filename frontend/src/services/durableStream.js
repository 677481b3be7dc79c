/**
 * The user's durable events over one or many connections: each once, in order, holes closed by `sync`.
 *
 * Says `lost` when the server cannot close a hole: the listeners must then reload over REST. It owns no
 * socket; the service feeds it and lends it `request`.
 *
 * @typedef {import("../contracts.generated.js").Authenticated} Authenticated
 * @typedef {import("../contracts.generated.js").NewNotification} NewNotification
 * @typedef {import("../contracts.generated.js").Synced} Synced
 *
 * @typedef {object} StreamPorts
 * @property {(event: string, data: object) => Promise<any>} request emits and resolves with the ack; rejects
 *   when the connection is gone or the answer takes too long
 * @property {(event: string, data: any, meta: { live: boolean }) => void} deliver
 * @property {(reason: string) => void} lost the hole cannot be closed from here
 */
import { CLIENT_EVENTS, SERVER_EVENTS } from "../contracts.generated.js";
import { OrderedInbox } from "./orderedInbox.js";
import { typedEventOf } from "./typedEvents.js";

const SYNC_LIMIT = 200;
const SYNC_TRIES = 3;
const STALL_PAUSE_MS = 300;
/** How long replayed events may still be on their way before we ask for them, ms. */
const REPLAY_GRACE_MS = 2_000;
/** Same, where the server said that it sends only the first part. */
const MORE_GRACE_MS = 250;

/** @param {number} delayMs */
const pause = (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs));

export class DurableStream {
  /** @param {StreamPorts} ports */
  constructor(ports) {
    this.ports = ports;
    this.inbox = new OrderedInbox();
    this.holesClosed = 0;
    /** Seqs up to this one are replays, above it live. */
    this.liveAfter = 0;
    /** Typed events that overtook their notification, as `event:seq`. @type {Set<string>} */
    this.ahead = new Set();
    this.syncing = false;
    /** Grows with every connection, so that a late answer of an old one changes nothing. */
    this.epoch = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** The position to tell the server on the next connection; null before the first one. */
  get cursor() {
    return this.inbox.cursor;
  }

  /** @param {Authenticated} answer */
  authenticated(answer) {
    this.liveAfter = answer.last_seq;
    if (this.cursor === null) {
      this.#release(this.inbox.rebase(answer.last_seq));
    } else if (answer.recovered === false) {
      this.#giveUp(answer.last_seq, "not_recovered");
    } else if (this.cursor < answer.last_seq) {
      this.#checkAfter(answer.more ? MORE_GRACE_MS : REPLAY_GRACE_MS, answer.last_seq);
    }
  }

  /** @param {NewNotification} notification */
  notification(notification) {
    this.#release(this.inbox.offer(notification));
    if (this.inbox.hasHole && !this.timer) void this.sync();
  }

  /**
   * A typed event: passed on once, at once. Its seq tells of a notification that must come too.
   *
   * @param {string} event
   * @param {{ seq: number }} data
   */
  typed(event, data) {
    const key = `${event}:${data.seq}`;
    if (this.cursor === null || data.seq <= this.cursor || this.ahead.has(key)) return;
    this.ahead.add(key);
    this.ports.deliver(event, data, { live: data.seq > this.liveAfter });
    this.behind(data.seq);
  }

  /** The server's newest seq is at least this: if we do not get there by ourselves soon, ask. @param {number} seq */
  behind(seq) {
    if (this.cursor !== null && seq > this.cursor && !this.timer) this.#checkAfter(REPLAY_GRACE_MS, seq);
  }

  /** The connection is gone: what was under way will not come. */
  interrupted() {
    this.epoch += 1;
    this.syncing = false;
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** Another user, or none. */
  reset() {
    this.interrupted();
    this.inbox.reset();
    this.ahead.clear();
    this.liveAfter = 0;
  }

  /** Fetch what is missing after the cursor until nothing is. */
  async sync() {
    if (this.syncing || this.cursor === null) return;
    const epoch = this.epoch;
    this.syncing = true;
    for (let stalls = 0; stalls < SYNC_TRIES; ) {
      const step = await this.#syncOnce(epoch);
      if (epoch !== this.epoch) return;
      if (step === "done") break;
      stalls = step === "moved" ? 0 : stalls + 1;
      if (stalls === SYNC_TRIES) this.#giveUp(this.#newestHeld(), "sync_failed");
      else if (stalls > 0) await pause(STALL_PAUSE_MS * stalls);
      if (epoch !== this.epoch) return;
    }
    this.syncing = false;
  }

  /** @param {number} epoch @returns {Promise<"done" | "moved" | "stalled">} */
  async #syncOnce(epoch) {
    const after = /** @type {number} */ (this.cursor);
    const answer = await this.#ask(after);
    if (epoch !== this.epoch || answer === null) return "stalled";
    if (!answer.recovered) {
      this.#giveUp(answer.last_seq, "not_recovered");
      return "done";
    }
    const ready = answer.items.flatMap((item) => this.inbox.offer(item));
    const cursor = /** @type {number} */ (this.cursor);
    if (cursor > after) this.holesClosed += 1;
    this.#release(ready);
    if (!answer.more && !this.inbox.hasHole && cursor >= answer.last_seq) return "done";
    return cursor > after ? "moved" : "stalled";
  }

  /** @param {number} after @returns {Promise<Synced | null>} null when there was no usable answer */
  async #ask(after) {
    try {
      const answer = await this.ports.request(CLIENT_EVENTS.SYNC, { after_seq: after, limit: SYNC_LIMIT });
      return answer && !answer.error ? answer : null;
    } catch {
      return null; // no answer in time, or the connection went away: counted by the caller
    }
  }

  /** @param {number} seq @param {string} reason */
  #giveUp(seq, reason) {
    this.liveAfter = Math.max(this.liveAfter, seq);
    this.ahead.clear();
    const ready = this.inbox.rebase(seq);
    this.ports.lost(reason);
    this.#release(ready);
  }

  #newestHeld() {
    return Math.max(/** @type {number} */ (this.cursor), ...this.inbox.held.keys());
  }

  /** @param {number} delayMs @param {number} seq */
  #checkAfter(delayMs, seq) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.cursor !== null && (this.cursor < seq || this.inbox.hasHole)) void this.sync();
    }, delayMs);
  }

  /** @param {NewNotification[]} ready */
  #release(ready) {
    for (const notification of ready) {
      const meta = { live: notification.seq > this.liveAfter };
      this.ports.deliver(SERVER_EVENTS.NEW_NOTIFICATION, notification, meta);
      const typed = typedEventOf(notification);
      if (typed && !this.ahead.delete(`${typed.event}:${notification.seq}`)) {
        this.ports.deliver(typed.event, typed.data, meta);
      }
    }
  }
}
