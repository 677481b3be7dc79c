/**
 * One Socket.IO connection at a time, opened again and again until `close()`.
 *
 * Knows transports, attempts, pauses and draining; knows nothing of users or events. The client library's own
 * reconnection is off: it has no patient mode, counts a server that accepts and drops as a success, and does not
 * come back at all after the server closed.
 *
 * @typedef {import("socket.io-client").Socket} Socket
 * @typedef {"idle" | "connecting" | "online" | "reconnecting" | "offline" | "refused"} ConnectionState
 *
 * @typedef {object} SocketPorts
 * @property {typeof import("socket.io-client").io} io
 * @property {() => number} random in [0, 1)
 * @property {() => object} auth the CONNECT payload, asked for at every attempt
 * @property {(socket: Socket) => void} opened a new socket to listen to, not connected yet
 * @property {() => void} closed the socket is gone
 * @property {(change: object) => void} changed what is shown of the connection
 */
import { drainDelayMs, isQuick, retryDelayMs } from "./reconnectPolicy.js";

const ATTEMPT_TIMEOUT_MS = 10_000;
const STABLE_AFTER_MS = 10_000;

export const NOT_CONNECTED = Object.freeze({
  connected: false,
  authenticated: false,
  sessionId: null,
  transport: null,
  latencyMs: null,
});

export class ReconnectingSocket {
  /** @param {SocketPorts} ports */
  constructor(ports) {
    this.ports = ports;
    /** @type {Socket | null} */
    this.socket = null;
    /** @type {{ origin: string, path: string } | null} */
    this.target = null;
    /** @type {ConnectionState} */
    this.state = "idle";
    /** Whether an attempt is running. */
    this.trying = false;
    /** Attempts in a row that led to nothing lasting. */
    this.failures = 0;
    this.reconnects = 0;
    this.everOnline = false;
    /** Whether long polling goes first: after a websocket that neither opened nor failed. */
    this.pollingFirst = false;
    /** @type {Record<string, ReturnType<typeof setTimeout> | undefined>} */
    this.timers = {};
  }

  /** @param {{ origin: string, path: string }} target */
  open(target) {
    this.#end();
    Object.assign(this, { target, failures: 0, reconnects: 0, everOnline: false });
    this.ports.changed({ reconnects: 0 });
    this.#attempt("connecting");
  }

  /** Leave, and stay away until `open`. @param {ConnectionState} [state] @param {string | null} [reason] */
  close(state = "idle", reason = null) {
    this.#end();
    this.target = null;
    this.#show(state, { ...NOT_CONNECTED, retryAt: null, reason });
  }

  /** Try now instead of when the pause is over. */
  retryNow() {
    if (this.target && !this.trying && this.state !== "online") this.#attempt(this.state);
  }

  /** The connection serves its purpose. */
  online() {
    if (this.state === "online") return;
    clearTimeout(this.timers.attempt);
    this.timers.stable = setTimeout(() => this.#stable(), STABLE_AFTER_MS);
    this.trying = false;
    if (this.everOnline) this.reconnects += 1;
    this.everOnline = true;
    this.#show("online", { reason: null, reconnects: this.reconnects });
  }

  /** The connection is of no use any more, or never became one. @param {string} reason for people */
  lost(reason) {
    if (!this.target) return;
    // One that held counts as no failure; one that is dropped at once does, or we would knock for ever.
    if (this.state !== "online" || this.timers.stable !== undefined) this.failures += 1;
    this.#retryAfter(retryDelayMs(this.failures, this.ports.random), reason);
  }

  /** The server goes away and said when to come back. @param {number} askedMs */
  drain(askedMs) {
    this.#retryAfter(drainDelayMs(askedMs, this.ports.random), "The server is restarting.");
  }

  /** @param {number} delayMs @param {string} reason */
  #retryAfter(delayMs, reason) {
    this.#end();
    const state = isQuick(this.failures) ? "reconnecting" : "offline";
    this.timers.retry = setTimeout(() => this.#attempt(state), delayMs);
    this.#show(state, { ...NOT_CONNECTED, attempt: this.failures, retryAt: Date.now() + delayMs, reason });
  }

  /** @param {ConnectionState} state shown while this attempt runs */
  #attempt(state) {
    this.#end();
    const target = /** @type {{ origin: string, path: string }} */ (this.target);
    const socket = this.ports.io(target.origin, {
      path: target.path,
      transports: this.pollingFirst ? ["polling", "websocket"] : ["websocket", "polling"],
      tryAllTransports: true,
      reconnection: false,
      forceNew: true,
      autoConnect: false,
      timeout: ATTEMPT_TIMEOUT_MS,
      auth: (send) => send(this.ports.auth()),
    });
    this.socket = socket;
    this.trying = true;
    this.#show(state, { retryAt: null });
    this.#listen(socket);
    this.ports.opened(socket);
    // Also covers what the client library does not: an open transport on which CONNECT is never answered.
    this.timers.attempt = setTimeout(() => this.lost("The server does not answer."), ATTEMPT_TIMEOUT_MS + 500);
    socket.connect();
  }

  /** @param {Socket} socket */
  #listen(socket) {
    socket.on("connect", () => this.#connected(socket));
    socket.on("disconnect", () => {
      if (socket === this.socket) this.lost("The connection was lost.");
    });
  }

  /** @param {Socket} socket */
  #connected(socket) {
    if (socket !== this.socket) return;
    const engine = socket.io?.engine;
    this.ports.changed({ connected: true, transport: engine?.transport?.name ?? null });
    engine?.on("upgrade", (/** @type {{ name: string }} */ transport) => {
      if (socket === this.socket) this.ports.changed({ transport: transport.name });
    });
  }

  /** The server was not reached at all. @param {string} detail the client library's word */
  unreachable(detail) {
    if (detail === "timeout") this.pollingFirst = !this.pollingFirst;
    this.lost("The server cannot be reached.");
  }

  #stable() {
    this.timers.stable = undefined;
    this.failures = 0;
    this.ports.changed({ attempt: 0 });
  }

  #end() {
    for (const timer of Object.values(this.timers)) clearTimeout(timer);
    this.timers = {};
    this.trying = false;
    const { socket } = this;
    this.socket = null;
    if (!socket) return;
    socket.off();
    socket.disconnect();
    this.ports.closed();
  }

  /** @param {ConnectionState} state @param {object} change */
  #show(state, change) {
    this.state = state;
    this.ports.changed({ state, trying: this.trying, ...change });
  }
}
