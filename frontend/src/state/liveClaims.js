/**
 * Claims as they stand this moment: what REST said, moved on by the live events. Versions never go back.
 *
 * Live events carry numbers, not the verdict. When the numbers make a consensus possible, the claim is read again,
 * at most every few seconds, so that a hot claim does not turn every watcher into a reader.
 *
 * @typedef {import("../contracts.generated.js").ClaimOut} Claim
 * @typedef {object} Entry
 * @property {Store<Claim>} claim
 * @property {number} countVersion @property {number} sharesVersion
 * @property {number} watchers
 * @property {number} confirmedAt epoch ms
 * @property {number} confirmedVersion at which it was read again and still open
 * @property {ReturnType<typeof setTimeout> | undefined} timer
 */
import { CLAIM_STATUS, SERVER_EVENTS } from "../contracts.generated.js";
import { Store } from "./store.js";

const ENTRY_LIMIT = 500;
const CONFIRM_MIN_MS = 100;
const CONFIRM_SPREAD_MS = 300;
const CONFIRM_EVERY_MS = 3_000;
/** No threshold is lower than this. */
const CONSENSUS_ABOVE_PERCENT = 50;

export class LiveClaims {
  /**
   * @param {object} ports
   * @param {Pick<import("../services/api.js").Api, "claim">} ports.api
   * @param {Pick<import("../services/websocketService.js").WebSocketService, "on" | "watchClaim">} ports.service
   * @param {() => number} [ports.random]
   */
  constructor({ api, service, random = Math.random }) {
    this.ports = { api, service, random };
    /** @type {Map<string, Entry>} */
    this.entries = new Map();
    service.on(SERVER_EVENTS.VALIDATION_COUNT_UPDATE, (data) => this.#count(data));
    service.on(SERVER_EVENTS.CONSENSUS_UPDATE, (data) => this.#shares(data));
    service.on("claim_snapshot", (data) => this.#snapshot(data));
    service.on(SERVER_EVENTS.CONSENSUS_REACHED, ({ claim_id: id }) => this.#confirmSoon(id, true));
  }

  /** The claim from here on; what is known of it already stays. @param {Claim} claim @returns {Store<Claim>} */
  follow(claim) {
    return (this.entries.get(claim.id) ?? this.#add(claim)).claim;
  }

  /** Take over what REST said. @param {Claim} claim */
  take(claim) {
    const entry = this.entries.get(claim.id) ?? this.#add(claim);
    if (claim.version >= entry.countVersion) {
      entry.countVersion = entry.sharesVersion = claim.version;
      entry.claim.set(claim);
    } else if (claim.status !== CLAIM_STATUS.OPEN) {
      const { status, consensus, settled_at } = claim;
      entry.claim.patch({ status, consensus, settled_at });
    }
  }

  /** Receive live numbers of a claim until the returned function is called. @param {string} id @returns {() => void} */
  watch(id) {
    const entry = this.entries.get(id);
    const end = this.ports.service.watchClaim(id);
    if (entry) entry.watchers += 1;
    return () => {
      end();
      if (entry) entry.watchers -= 1;
      if (entry?.watchers === 0) {
        clearTimeout(entry.timer);
        entry.timer = undefined;
      }
    };
  }

  /** @param {Claim} claim @returns {Entry} */
  #add(claim) {
    for (const [id, entry] of this.entries) {
      if (this.entries.size < ENTRY_LIMIT) break;
      if (entry.watchers === 0) this.entries.delete(id);
    }
    const { version } = claim;
    const entry = {
      claim: new Store(claim),
      countVersion: version,
      sharesVersion: version,
      watchers: 0,
      confirmedAt: 0,
      confirmedVersion: -1,
      timer: undefined,
    };
    this.entries.set(claim.id, entry);
    return entry;
  }

  /** @param {{ claim_id: string, count: number, version: number }} data */
  #count({ claim_id: id, count, version }) {
    const entry = this.entries.get(id);
    if (!entry || version <= entry.countVersion) return;
    entry.countVersion = version;
    const { tally } = entry.claim.value;
    entry.claim.patch({ version, tally: { ...tally, total: count } });
    this.#confirmSoon(id, false);
  }

  /** @param {{ claim_id: string, vouch: number, dispute: number, unsure: number, version: number }} data */
  #shares({ claim_id: id, vouch, dispute, unsure, version }) {
    const entry = this.entries.get(id);
    if (!entry || version <= entry.sharesVersion) return;
    entry.sharesVersion = version;
    entry.claim.patch({ percentages: { vouch, dispute, unsure } });
    this.#confirmSoon(id, false);
  }

  /** @param {import("../contracts.generated.js").ClaimSnapshot} snapshot */
  #snapshot(snapshot) {
    this.#count(snapshot);
    this.#shares(snapshot);
    const status = this.entries.get(snapshot.claim_id)?.claim.value.status;
    if (status === CLAIM_STATUS.OPEN && snapshot.status !== status) this.#confirmSoon(snapshot.claim_id, true);
  }

  /** @param {string} id @param {boolean} certain whether somebody said that it is settled */
  #confirmSoon(id, certain) {
    const entry = this.entries.get(id);
    if (!entry || entry.watchers === 0 || (entry.timer !== undefined && !certain)) return;
    if (entry.claim.value.status !== CLAIM_STATUS.OPEN || !(certain || couldBeSettled(entry.claim.value))) return;
    const soonMs = CONFIRM_MIN_MS + this.ports.random() * CONFIRM_SPREAD_MS;
    const laterMs = entry.confirmedAt + CONFIRM_EVERY_MS - Date.now();
    this.#confirmAfter(certain ? soonMs : Math.max(soonMs, laterMs), id, entry);
  }

  /** @param {number} delayMs @param {string} id @param {Entry} entry */
  #confirmAfter(delayMs, id, entry) {
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => void this.#confirm(id, entry), delayMs);
  }

  /** @param {string} id @param {Entry} entry */
  async #confirm(id, entry) {
    entry.timer = undefined;
    entry.confirmedAt = Date.now();
    const { confirmedVersion } = entry;
    try {
      this.take(await this.ports.api.claim(id));
      entry.confirmedVersion = entry.countVersion;
    } catch {
      // Asked again below.
    }
    const { status } = entry.claim.value;
    // The numbers may have come a moment before the verdict: look once more per version.
    const again = status === CLAIM_STATUS.OPEN && couldBeSettled(entry.claim.value);
    if (again && confirmedVersion !== entry.countVersion && entry.watchers > 0 && entry.timer === undefined) {
      this.#confirmAfter(CONFIRM_EVERY_MS, id, entry);
    }
  }
}

/** @param {Claim} claim */
function couldBeSettled({ tally, quorum, percentages: { vouch, dispute, unsure } }) {
  return tally.total >= quorum && Math.max(vouch, dispute, unsure) > CONSENSUS_ABOVE_PERCENT;
}
