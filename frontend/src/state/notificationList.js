/**
 * Which notifications are known, from where on without holes, and which of them are read. Pure bookkeeping.
 *
 * @typedef {import("../contracts.generated.js").NotificationOut} Notification
 */

const KNOWN_LIMIT = 2_000;
const READ_IDS_LIMIT = 2_000;

export class NotificationList {
  constructor() {
    /** @type {Map<string, Notification>} */
    this.known = new Map();
    /** @type {number | null} */
    this.newestSeq = null;
    /** Everything from this seq up is known. */
    this.floor = Infinity;
    /** Everything unread from this seq up is known. */
    this.unreadFloor = Infinity;
    /** What was read here or elsewhere, also of rows that are not known. @type {Set<string>} */
    this.readIds = new Set();
    this.readUpTo = 0;
    /** There may be a hole below the next page: start afresh with it. */
    this.broken = false;
  }

  /** @returns {Notification[]} newest first, without holes */
  items() {
    return this.#from(this.floor);
  }

  /** @returns {Notification[]} newest first, without holes among the unread */
  unreadItems() {
    return this.#from(this.unreadFloor).filter((item) => !item.read);
  }

  /** @param {Notification} notification */
  isRead(notification) {
    return notification.read || notification.seq <= this.readUpTo || this.readIds.has(notification.id);
  }

  /** @param {string} id */
  isKnownRead(id) {
    return this.known.get(id)?.read ?? this.readIds.has(id);
  }

  /**
   * Add a live one above all others.
   *
   * @param {Notification} notification
   * @returns {"known" | "next" | "after_hole"}
   */
  append(notification) {
    if (this.newestSeq !== null && notification.seq <= this.newestSeq) return "known";
    const next = notification.seq === (this.newestSeq ?? 0) + 1;
    this.#put(notification);
    this.newestSeq = notification.seq;
    if (!next) this.floor = this.unreadFloor = notification.seq;
    this.#trim();
    return next ? "next" : "after_hole";
  }

  /**
   * Take over the newest page of the server.
   *
   * @param {Notification[]} items newest first @param {number} lastSeq @param {boolean} more
   * @returns {number} how many unread ones above that page are known
   */
  adopt(items, lastSeq, more) {
    const top = Math.max(lastSeq, items[0]?.seq ?? 0);
    const pageFloor = more ? items[items.length - 1].seq : 1;
    if (this.broken) {
      // Perhaps another store, restored: what was read in the old one says nothing of its numbers.
      this.readUpTo = 0;
      this.readIds.clear();
    }
    if (this.broken || this.newestSeq === null || pageFloor > this.newestSeq + 1) {
      this.known.clear();
      this.floor = this.unreadFloor = Infinity;
      this.newestSeq = top;
      this.broken = false;
    }
    for (const item of items) this.#put(item);
    this.newestSeq = Math.max(/** @type {number} */ (this.newestSeq), top);
    this.floor = Math.min(this.floor, pageFloor);
    this.unreadFloor = Math.min(this.unreadFloor, this.floor);
    return this.#from(top + 1).filter((item) => !item.read).length;
  }

  /**
   * Take over an older page.
   *
   * @param {Notification[]} items newest first @param {number} before seq it was asked before
   * @param {boolean} more @param {boolean} unread whether it holds only unread ones
   */
  prepend(items, before, more, unread) {
    for (const item of items) this.#put(item);
    const reached = more ? items[items.length - 1].seq : 1;
    if (!unread && before === this.floor) this.floor = reached;
    if (unread && before === this.unreadFloor) this.unreadFloor = reached;
    this.unreadFloor = Math.min(this.unreadFloor, this.floor);
  }

  /** @param {string[]} ids @returns {number} how many of them were unread until now */
  markRead(ids) {
    let changed = 0;
    for (const id of ids) {
      if (!this.isKnownRead(id)) changed += 1;
      this.readIds.add(id);
      this.#touch(id);
    }
    for (const id of this.readIds) {
      if (this.readIds.size <= READ_IDS_LIMIT) break;
      this.readIds.delete(id);
    }
    return changed;
  }

  /** @param {number} upToSeq @returns {number | null} unread ones above it, null when not all are known */
  markReadUpTo(upToSeq) {
    this.readUpTo = Math.max(this.readUpTo, upToSeq);
    for (const id of this.known.keys()) this.#touch(id);
    return this.unreadFloor <= this.readUpTo + 1 ? this.unreadItems().length : null;
  }

  /**
   * Call before these are marked read.
   *
   * @param {string[]} ids @param {number} upToSeq
   * @returns {() => void} takes just that back, not what was marked since
   */
  remember(ids, upToSeq) {
    const added = ids.filter((id) => !this.readIds.has(id));
    const { readUpTo } = this;
    const unread = [...this.known.values()].filter((item) => !item.read && (item.seq <= upToSeq || ids.includes(item.id)));
    return () => {
      for (const id of added) this.readIds.delete(id);
      if (this.readUpTo === upToSeq) this.readUpTo = readUpTo;
      for (const { id } of unread) this.#untouch(id);
    };
  }

  /** @param {number} seq */
  #from(seq) {
    return [...this.known.values()].filter((item) => item.seq >= seq).sort((a, b) => b.seq - a.seq);
  }

  /** @param {Notification} item */
  #put(item) {
    const read = this.isRead(item);
    this.known.set(item.id, read === item.read ? item : { ...item, read });
  }

  /** @param {string} id */
  #touch(id) {
    const item = this.known.get(id);
    if (item && !item.read && this.isRead(item)) this.known.set(id, { ...item, read: true });
  }

  /** @param {string} id */
  #untouch(id) {
    const item = this.known.get(id);
    if (item?.read && item.seq > this.readUpTo && !this.readIds.has(id)) this.known.set(id, { ...item, read: false });
  }

  /** Forget the older half of a list that grew for days. */
  #trim() {
    if (this.known.size <= KNOWN_LIMIT) return;
    const kept = this.#from(0).slice(0, KNOWN_LIMIT / 2);
    this.known = new Map(kept.map((item) => [item.id, item]));
    this.floor = Math.max(this.floor, kept[kept.length - 1].seq);
    this.unreadFloor = Math.max(this.unreadFloor, this.floor);
  }
}
