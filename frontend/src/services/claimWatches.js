/**
 * Which claims the page looks at: counted per claim, told to the server, told again on every connection.
 *
 * @typedef {import("../contracts.generated.js").ClaimSnapshot} ClaimSnapshot
 *
 * @typedef {object} WatchPorts
 * @property {(event: string, data: object) => Promise<any>} request
 * @property {(snapshot: ClaimSnapshot) => void} snapshot how the claim stands now
 * @property {() => boolean} isOpen whether the server would listen
 */
import { CLIENT_EVENTS } from "../contracts.generated.js";

export class ClaimWatches {
  /** @param {WatchPorts} ports */
  constructor(ports) {
    this.ports = ports;
    /** Watchers per claim. @type {Map<string, number>} */
    this.watchers = new Map();
  }

  /** @param {string} claimId @returns {() => void} ends this watch */
  add(claimId) {
    const before = this.watchers.get(claimId) ?? 0;
    this.watchers.set(claimId, before + 1);
    if (before === 0) this.refresh(claimId);
    let ended = false;
    return () => {
      if (!ended) this.#remove(claimId);
      ended = true;
    };
  }

  /** Tell a new connection everything. */
  renew() {
    for (const claimId of this.watchers.keys()) this.refresh(claimId);
  }

  /** Ask for the claim's present state. @param {string} claimId */
  refresh(claimId) {
    if (this.watchers.has(claimId)) void this.#send(CLIENT_EVENTS.WATCH_CLAIM, claimId);
  }

  /** @param {string} claimId */
  #remove(claimId) {
    const left = (this.watchers.get(claimId) ?? 1) - 1;
    if (left > 0) {
      this.watchers.set(claimId, left);
      return;
    }
    this.watchers.delete(claimId);
    void this.#send(CLIENT_EVENTS.UNWATCH_CLAIM, claimId);
  }

  /** @param {string} event @param {string} claimId */
  async #send(event, claimId) {
    if (!this.ports.isOpen()) return;
    try {
      const answer = await this.ports.request(event, { claim_id: claimId });
      if (answer?.version !== undefined) this.ports.snapshot(answer);
    } catch {
      // No answer: the connection is on its way out, and the next one is told everything again.
    }
  }
}
