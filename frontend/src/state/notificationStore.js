/**
 * The user's notifications as this tab knows them, and the number on the bell.
 *
 * The number is what the server last acknowledged plus what has happened since, live. After every connection,
 * and whenever something was read, it is compared with the server again, until a comparison falls into a moment
 * in which nothing changed: only then is it exact.
 *
 * @typedef {import("../contracts.generated.js").NotificationOut} Notification
 * @typedef {import("../contracts.generated.js").NotificationPage} NotificationPage
 *
 * @typedef {object} NotificationState
 * @property {"idle" | "loading" | "ready" | "failed"} status
 * @property {number} unread
 * @property {boolean} exact whether the number was compared in a quiet moment
 * @property {Notification[]} items newest first, without holes
 * @property {Notification[]} unreadItems newest first, without holes among the unread
 * @property {boolean} hasOlder @property {boolean} hasOlderUnread
 * @property {string | null} error what last went wrong, for people
 */
import { SERVER_EVENTS } from "../contracts.generated.js";
import { NotificationList } from "./notificationList.js";
import { Store } from "./store.js";

export const PAGE_SIZE = 20;
const CHECK_MS = 300;
const CHECK_DOUBLINGS = 4;
/** An event this soon after a comparison may have been counted by it already: compare again. */
const QUIET_MS = 1_000;
const RETRY_MS = 2_000;
const RETRY_MAX_MS = 30_000;
const EARLY_LIMIT = 500;
const RECONNECT_SPREAD_MS = 2_000;

/** @type {NotificationState} */
const NOTHING = {
  status: "idle",
  unread: 0,
  exact: false,
  items: [],
  unreadItems: [],
  hasOlder: false,
  hasOlderUnread: false,
  error: null,
};

export class NotificationStore {
  running = false;
  loaded = false;
  unread = 0;
  exact = false;
  /** Arrived before the first page did. @type {Notification[]} */
  early = [];
  /** Grows with everything that happens, so that a comparison knows whether it was alone. */
  changes = 0;
  /** Marks that the server has not answered yet. */
  pending = 0;
  comparing = false;
  compareAgain = false;
  /** When the last comparison was taken over, epoch ms. */
  comparedAt = 0;
  /** How often in a row a comparison fell into a busy moment. */
  hot = 0;
  failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer = undefined;

  /**
   * @param {object} ports
   * @param {Pick<import("../services/api.js").Api, "notifications" | "markRead" | "markAllRead">} ports.api
   * @param {Pick<import("../services/websocketService.js").WebSocketService, "on">} ports.service
   * @param {(message: object) => void} [ports.tellTabs] to this user's other tabs
   * @param {() => number} [ports.random] in [0, 1)
   */
  constructor({ api, service, tellTabs = () => {}, random = Math.random }) {
    this.ports = { api, service, tellTabs, random };
    /** @type {Store<NotificationState>} */
    this.state = new Store(NOTHING);
    this.list = new NotificationList();
    /** Grows with every start, so that late answers change nothing. */
    this.epoch = 0;
    service.on(SERVER_EVENTS.NEW_NOTIFICATION, (data) => this.received(data));
    service.on(SERVER_EVENTS.NOTIFICATION_READ, (data) => this.readElsewhere(data));
    service.on(SERVER_EVENTS.AUTHENTICATED, (answer) => this.connected(answer));
    service.on("resync", () => {
      this.list.broken = true;
      this.compare();
    });
  }

  /** Begin for a user who just signed in. */
  start() {
    this.stop();
    this.running = true;
    this.state.set({ ...NOTHING, status: "loading" });
    this.compare();
  }

  /** Forget everything. */
  stop() {
    this.epoch += 1;
    clearTimeout(this.timer);
    this.list = new NotificationList();
    this.#forget();
    this.state.set(NOTHING);
  }

  // ------------------------------------------------------------------ what happens

  /** @param {Notification} notification each seq once, ascending */
  received(notification) {
    if (!this.running) return;
    this.changes += 1;
    if (!this.loaded) {
      if (this.early.length < EARLY_LIMIT) this.early.push(notification);
      return;
    }
    const outcome = this.list.append(notification);
    if (outcome === "known") return;
    if (!this.list.isRead(notification)) this.unread += 1;
    if (outcome === "after_hole" || Date.now() - this.comparedAt < QUIET_MS) this.#compareSoon();
    else this.hot = 0;
    this.#publish();
  }

  /**
   * Another tab or device read something, or this server says that we did.
   *
   * @param {{ ids?: string[] | null, up_to_seq?: number | null, unread_count?: number }} message
   */
  readElsewhere(message) {
    if (!this.running) return;
    this.#applyRead(message);
    this.#compareSoon();
    this.#publish();
  }

  /**
   * A connection was made. After a complete replay there is no hurry, and thousands come back together.
   *
   * @param {Partial<import("../contracts.generated.js").Authenticated>} answer
   */
  connected({ recovered }) {
    if (!this.running) return;
    this.exact = false;
    this.#publish();
    if (recovered) this.#compareAfter(CHECK_MS + this.ports.random() * RECONNECT_SPREAD_MS);
    else this.compare();
  }

  /** Compare with the server now. */
  compare() {
    if (!this.running) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    void this.#compare();
  }

  // ------------------------------------------------------------------ what the user does

  /** Mark one read; shown at once, taken back if the server refuses. @param {string} id */
  async markRead(id) {
    if (this.list.isKnownRead(id)) return;
    await this.#change({ ids: [id] }, () => this.ports.api.markRead(id));
  }

  /** Mark everything read that is shown up to now. */
  async markAllRead() {
    const upToSeq = this.list.newestSeq;
    if (upToSeq === null || this.unread === 0) return;
    await this.#change({ up_to_seq: upToSeq }, () => this.ports.api.markAllRead(upToSeq));
  }

  /** Load the page before the oldest one. @param {boolean} unread only the unread ones */
  async loadOlder(unread) {
    const { epoch } = this;
    const before = unread ? this.list.unreadFloor : this.list.floor;
    try {
      const page = await this.ports.api.notifications({ before_seq: before, unread, limit: PAGE_SIZE });
      if (epoch !== this.epoch) return;
      this.list.prepend(page.items, before, page.more, unread);
      this.#publish({ error: null });
    } catch (error) {
      if (epoch === this.epoch) this.#publish({ error: messageOf(error) });
    }
  }

  // ------------------------------------------------------------------ inside

  #forget() {
    Object.assign(this, { running: false, loaded: false, unread: 0, exact: false, early: [], changes: 0, pending: 0 });
    Object.assign(this, { comparing: false, compareAgain: false, comparedAt: 0, hot: 0, failures: 0, timer: undefined });
  }

  /** @param {{ ids?: string[] | null, up_to_seq?: number | null, unread_count?: number }} message */
  #applyRead({ ids, up_to_seq: upToSeq, unread_count: unreadCount }) {
    this.changes += 1;
    if (ids) this.unread = Math.max(0, this.unread - this.list.markRead(ids));
    if (upToSeq !== undefined && upToSeq !== null) {
      const left = this.list.markReadUpTo(upToSeq);
      this.unread = left ?? unreadCount ?? this.unread;
    }
  }

  /**
   * @param {{ ids?: string[], up_to_seq?: number }} message
   * @param {() => Promise<unknown>} send
   */
  async #change(message, send) {
    const { epoch } = this;
    const undo = this.list.remember(message.ids ?? [], message.up_to_seq ?? 0);
    const unreadBefore = this.unread;
    this.pending += 1;
    this.#applyRead(message);
    const marked = unreadBefore - this.unread;
    this.#publish({ error: null });
    try {
      await send();
      if (epoch === this.epoch) this.ports.tellTabs({ kind: "read", ...message });
    } catch (error) {
      if (epoch !== this.epoch) return;
      undo();
      this.unread += marked;
      this.#publish({ error: messageOf(error) });
    }
    if (epoch !== this.epoch) return;
    this.pending -= 1;
    this.changes += 1;
    this.#compareSoon();
  }

  /** Soon, but ever more rarely while things keep happening. */
  #compareSoon() {
    this.exact = false;
    if (this.timer !== undefined) return;
    this.#compareAfter(CHECK_MS * 2 ** Math.min(this.hot, CHECK_DOUBLINGS));
    this.hot += 1;
  }

  /** @param {number} delayMs */
  #compareAfter(delayMs) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.compare(), delayMs);
  }

  async #compare() {
    if (this.comparing) {
      this.compareAgain = true;
      return;
    }
    this.comparing = true;
    this.compareAgain = false;
    const { epoch, changes, pending } = this;
    try {
      const page = await this.ports.api.notifications({ limit: PAGE_SIZE });
      if (epoch !== this.epoch) return;
      this.#adopt(page, changes === this.changes && pending === 0 && this.pending === 0);
    } catch (error) {
      if (epoch !== this.epoch) return;
      this.#failed(messageOf(error));
    }
    this.comparing = false;
    if (this.compareAgain) this.#compareSoon();
  }

  /** @param {NotificationPage} page @param {boolean} alone nothing happened while it was under way */
  #adopt(page, alone) {
    this.failures = 0;
    this.comparedAt = Date.now();
    const newerUnread = this.list.adopt(page.items, page.last_seq, page.more);
    // While something happens, our own count is at least as good as theirs.
    if (alone || !this.loaded) this.unread = page.unread_count + newerUnread;
    this.exact = alone;
    const first = !this.loaded;
    this.loaded = true;
    if (first) for (const early of this.early.splice(0)) this.received(early);
    if (!alone) this.#compareSoon();
    this.#publish({ status: "ready", error: null });
  }

  /** @param {string} message */
  #failed(message) {
    this.#compareAfter(Math.min(RETRY_MS * 2 ** this.failures, RETRY_MAX_MS));
    this.failures += 1;
    if (!this.loaded) this.#publish({ status: "failed", error: message });
  }

  /** @param {Partial<NotificationState>} [change] */
  #publish(change = {}) {
    const { unread, exact, list } = this;
    const knownUnread = list.unreadItems();
    this.state.patch({
      unread,
      exact,
      items: list.items(),
      unreadItems: knownUnread,
      hasOlder: list.floor > 1,
      hasOlderUnread: list.unreadFloor > 1 && knownUnread.length < unread,
      ...change,
    });
  }
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
