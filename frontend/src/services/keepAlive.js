/**
 * Regular pings, and the conclusion when one is not answered.
 *
 * `start` and `stop` are the owner's wish; `pause` and `resume` follow the connection.
 *
 * @typedef {object} KeepAlivePorts
 * @property {() => void} ping
 * @property {() => void} silent a ping was not answered in time
 */

const ANSWER_WITHIN_MS = 10_000;

export class KeepAlive {
  /** @param {KeepAlivePorts} ports */
  constructor(ports) {
    this.ports = ports;
    this.intervalMs = 0;
    this.open = false;
    /** @type {number | null} */
    this.sentAt = null;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.interval = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.deadline = undefined;
  }

  /** @param {number} intervalMs */
  start(intervalMs) {
    this.intervalMs = intervalMs;
    this.#arm();
  }

  stop() {
    this.intervalMs = 0;
    this.#disarm();
  }

  resume() {
    this.open = true;
    this.#arm();
  }

  pause() {
    this.open = false;
    this.#disarm();
  }

  /** Ping at once, whatever the rhythm. */
  now() {
    if (!this.open || this.deadline !== undefined) return;
    this.sentAt = Date.now();
    this.deadline = setTimeout(() => this.#silent(), ANSWER_WITHIN_MS);
    this.ports.ping();
  }

  /** The pong is here. @returns {number | null} round trip in ms, null for a pong that nobody waited for */
  answered() {
    clearTimeout(this.deadline);
    this.deadline = undefined;
    const latencyMs = this.sentAt === null ? null : Date.now() - this.sentAt;
    this.sentAt = null;
    return latencyMs;
  }

  #silent() {
    this.deadline = undefined;
    this.ports.silent();
  }

  #arm() {
    clearInterval(this.interval);
    this.interval = undefined;
    if (this.open && this.intervalMs > 0) this.interval = setInterval(() => this.now(), this.intervalMs);
  }

  #disarm() {
    clearInterval(this.interval);
    clearTimeout(this.deadline);
    this.interval = undefined;
    this.deadline = undefined;
    this.sentAt = null;
  }
}
