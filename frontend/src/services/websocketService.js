/**
 * The one connection of a page: keeps it, says honestly how it is, and passes on what the server tells.
 *
 * It reconnects by itself (five quick attempts, then a patient rhythm), signs in again on every connection,
 * has what was missed replayed, and drops what came twice. It refuses to go on with credentials that the server
 * refused. Nothing connects at import: the page calls `autoConnect()` or `connect(url)`.
 *
 * Besides the server's events, listeners can have `state` (see `getConnectionInfo`), `resync` (a hole could not
 * be closed: reload over REST), `claim_snapshot` and `refused` (the credentials are no good).
 *
 * @typedef {import("./reconnectingSocket.js").ConnectionState} ConnectionState
 * @typedef {import("./reconnectingSocket.js").Socket} Socket
 * @typedef {import("./connectionInfo.js").ConnectionInfo} ConnectionInfo
 */
import { io as socketIo } from "socket.io-client";
import { CLIENT_EVENTS, CODE, LIVE_SCOPE, SERVER_EVENTS } from "../contracts.generated.js";
import { ClaimWatches } from "./claimWatches.js";
import { initialInfo } from "./connectionInfo.js";
import { DurableStream } from "./durableStream.js";
import { Emitter } from "./emitter.js";
import { KeepAlive } from "./keepAlive.js";
import { ReconnectingSocket } from "./reconnectingSocket.js";
import { splitSocketUrl } from "./socketUrl.js";
import { browserStorage, storedSession } from "./storedSession.js";
import { TYPED_EVENTS } from "./typedEvents.js";

const REQUEST_TIMEOUT_MS = 5_000;
/**
 * A token that stays wrong however often it is shown. Everything else may pass, so it is tried again.
 * @type {Set<string>}
 */
const FINAL_CODES = new Set([CODE.INVALID_TOKEN, CODE.TOKEN_EXPIRED, CODE.TOKEN_REVOKED, CODE.WRONG_SUBJECT]);
/** Passed on as they come. */
const PLAIN_EVENTS = [
  SERVER_EVENTS.CONNECTION_ESTABLISHED,
  SERVER_EVENTS.NOTIFICATION_READ,
  SERVER_EVENTS.VALIDATION_COUNT_UPDATE,
  SERVER_EVENTS.CONSENSUS_UPDATE,
  SERVER_EVENTS.STATUS,
];

export class WebSocketService {
  /**
   * @param {object} [ports] what the tests replace
   * @param {typeof socketIo} [ports.io]
   * @param {() => number} [ports.random] in [0, 1)
   * @param {() => Storage | null} [ports.storage]
   * @param {string} [ports.base] where relative URLs start
   */
  constructor({ io = socketIo, random = Math.random, storage = browserStorage, base } = {}) {
    this.storage = storage;
    this.base = base ?? globalThis.location?.href;
    /** @type {{ userId: string | null, token: string } | null} */
    this.credentials = null;
    this.info = initialInfo();
    this.emitter = new Emitter();
    this.connection = new ReconnectingSocket({
      io,
      random,
      auth: () => this.#auth(),
      opened: (socket) => this.#listen(socket),
      closed: () => this.#closed(),
      changed: (change) => this.#update(change),
    });
    this.stream = new DurableStream({
      request: (event, data) => this.request(event, data),
      deliver: (event, data, meta) => {
        this.#update({});
        this.trigger(event, data, meta);
      },
      lost: (reason) => {
        this.#update({});
        this.trigger("resync", { reason });
      },
    });
    this.watches = new ClaimWatches({
      request: (event, data) => this.request(event, data),
      snapshot: (data) => this.trigger("claim_snapshot", data),
      isOpen: () => this.info.state === "online",
    });
    this.keepAlive = new KeepAlive({
      ping: () => this.connection.socket?.emit(CLIENT_EVENTS.PING, {}),
      silent: () => this.connection.lost("The server does not answer."),
    });
  }

  // ------------------------------------------------------------------ listeners

  /** @type {Emitter["on"]} */
  on(event, listener) {
    return this.emitter.on(event, listener);
  }

  /** @type {Emitter["off"]} */
  off(event, listener) {
    this.emitter.off(event, listener);
  }

  /** @type {Emitter["trigger"]} */
  trigger(event, data, meta) {
    this.emitter.trigger(event, data, meta);
  }

  // ------------------------------------------------------------------ connection

  /**
   * Connect if a token and a user are in localStorage.
   *
   * @param {string} [url]
   * @returns {boolean} whether there was something to connect with
   */
  autoConnect(url) {
    const session = storedSession(this.storage());
    if (!session) return false;
    this.#useCredentials(session.userId, session.token);
    this.connect(url);
    return true;
  }

  /**
   * Connect, and stay connected until `disconnect()`.
   *
   * @param {string} [url] where the service is mounted, for example `http://host:8000/ws`; default: this page's
   *   origin and `/ws`
   */
  connect(url) {
    const target = splitSocketUrl(url, this.base);
    const { target: now } = this.connection;
    if (now && now.origin === target.origin && now.path === target.path) return;
    this.#update({ url: target.origin + target.path });
    this.connection.open(target);
  }

  /** Leave, and stay away. */
  disconnect() {
    this.connection.close();
  }

  isConnected() {
    return this.info.connected;
  }

  /** @returns {Readonly<ConnectionInfo>} the same object until something changes */
  getConnectionInfo() {
    return this.info;
  }

  /** Try at once instead of waiting for the next attempt. */
  retryNow() {
    this.connection.retryNow();
  }

  /**
   * Sign in, now and on every later connection.
   *
   * On an open connection of the same user the new token takes the place of the old one without a gap.
   *
   * @param {string | null} userId
   * @param {string} token
   */
  authenticate(userId, token) {
    const before = this.credentials;
    this.#useCredentials(userId, token);
    const { target } = this.connection;
    if (!target || (before?.userId === userId && before.token === token)) return;
    if (this.info.authenticated && before?.userId === userId) {
      void this.#present(CLIENT_EVENTS.REAUTH, { token });
    } else if (this.info.connected && !before) {
      void this.#present(CLIENT_EVENTS.AUTHENTICATE, { ...this.#position(), token, ...(userId && { user_id: userId }) });
    } else {
      this.connection.open(target);
    }
  }

  /** Forget the user and leave: the other half of `authenticate`. */
  signOut() {
    this.disconnect();
    this.credentials = null;
    this.stream.reset();
    this.#update({ userId: null, lastSeq: null, tokenExpiresAt: null });
  }

  /** Ping the server regularly; a ping without an answer counts as a lost connection. @param {number} [intervalMs] */
  startKeepAlive(intervalMs = 30_000) {
    this.keepAlive.start(intervalMs);
  }

  stopKeepAlive() {
    this.keepAlive.stop();
  }

  /** Find out now whether the connection still lives: the page woke up, or the network changed. */
  checkNow() {
    if (this.info.state === "online") this.keepAlive.now();
    else this.retryNow();
  }

  // ------------------------------------------------------------------ questions

  /**
   * Receive the live numbers of a claim, also after reconnections, until the returned function is called.
   *
   * @param {string} claimId
   * @returns {() => void}
   */
  watchClaim(claimId) {
    return this.watches.add(claimId);
  }

  /** Ask for a fresh snapshot of a watched claim. @param {string} claimId */
  refreshClaim(claimId) {
    this.watches.refresh(claimId);
  }

  /** Ask how the server is: the answer is a `status` event. */
  askStatus() {
    if (this.info.authenticated) this.connection.socket?.emit(CLIENT_EVENTS.GET_STATUS, {});
  }

  /**
   * Emit and wait for the acknowledgement.
   *
   * @param {string} event @param {object} data
   * @returns {Promise<any>} rejects when there is no connection, or no answer within 5 s
   */
  request(event, data) {
    const { socket } = this.connection;
    if (!socket?.connected) return Promise.reject(new Error("not connected"));
    return socket.timeout(REQUEST_TIMEOUT_MS).emitWithAck(event, data);
  }

  // ------------------------------------------------------------------ inside

  /** @param {string | null} userId @param {string} token */
  #useCredentials(userId, token) {
    if (this.credentials && this.credentials.userId !== userId) this.stream.reset();
    this.credentials = { userId, token };
    this.#update({ userId, lastSeq: this.stream.cursor, tokenExpiresAt: null });
  }

  /** The CONNECT payload. */
  #auth() {
    const scope = { live: LIVE_SCOPE.WATCHED };
    return this.credentials ? { ...scope, ...this.#position(), token: this.credentials.token } : scope;
  }

  #position() {
    return this.stream.cursor === null ? {} : { last_seq: this.stream.cursor };
  }

  /** @param {Socket} socket */
  #listen(socket) {
    /** @param {string} event @param {(data: any) => void} handler */
    const on = (event, handler) =>
      socket.on(event, (/** @type {any} */ data) => {
        if (socket === this.connection.socket) handler(data);
      });
    on("connect", () => this.credentials || this.#online());
    on("connect_error", (error) => this.#connectError(error));
    on(SERVER_EVENTS.AUTHENTICATED, (answer) => this.#authenticated(answer));
    on(SERVER_EVENTS.AUTH_ERROR, (error) => this.#authError(error));
    on(SERVER_EVENTS.NEW_NOTIFICATION, (data) => this.#notification(data));
    for (const event of TYPED_EVENTS) on(event, (data) => this.stream.typed(event, data));
    on(SERVER_EVENTS.PONG, (data) => this.#pong(data));
    on(SERVER_EVENTS.SERVER_DRAINING, (data) => this.#draining(data));
    on(SERVER_EVENTS.TOKEN_EXPIRING, (data) => this.#tokenExpiring(data));
    on(SERVER_EVENTS.STATUS, ({ node, connected_users }) => this.#update({ node, connectedUsers: connected_users }));
    on(SERVER_EVENTS.CONNECTION_ESTABLISHED, (data) => this.#update({ sessionId: data.session_id }));
    for (const event of PLAIN_EVENTS) on(event, (data) => this.trigger(event, data));
  }

  #closed() {
    this.stream.interrupted();
    this.keepAlive.pause();
  }

  #online() {
    this.connection.online();
    this.keepAlive.resume();
    this.watches.renew();
  }

  /** @param {import("../contracts.generated.js").Authenticated} answer */
  #authenticated(answer) {
    this.#update({ authenticated: true, userId: answer.user_id, tokenExpiresAt: null });
    this.stream.authenticated(answer);
    this.#online();
    this.askStatus();
    this.trigger(SERVER_EVENTS.AUTHENTICATED, answer);
  }

  /** @param {import("../contracts.generated.js").NewNotification} data */
  #notification(data) {
    this.stream.notification(data);
    this.#update({});
  }

  /** @param {Error & { data?: { code?: string, message?: string } }} error */
  #connectError(error) {
    const code = error.data?.code;
    if (code) this.#authError({ code, message: error.data?.message ?? error.message });
    else this.connection.unreachable(error.message);
  }

  /** @param {{ code: string, message: string }} error */
  #authError(error) {
    this.trigger(SERVER_EVENTS.AUTH_ERROR, error);
    if (!FINAL_CODES.has(error.code)) {
      this.connection.lost(error.message);
      return;
    }
    this.connection.close("refused", error.message);
    this.trigger("refused", error);
  }

  /** Show a token on the open connection. @param {string} event @param {object} data */
  async #present(event, data) {
    const { socket } = this.connection;
    try {
      const answer = await this.request(event, data);
      if (socket !== this.connection.socket) return;
      if (answer?.error) this.#authError(answer.error);
      else this.#update({ tokenExpiresAt: null });
    } catch {
      if (socket === this.connection.socket) this.connection.lost("The server does not answer.");
    }
  }

  /** @param {import("../contracts.generated.js").Pong} data */
  #pong(data) {
    const latencyMs = this.keepAlive.answered();
    if (latencyMs !== null) this.#update({ latencyMs });
    if (data.last_seq !== null) this.stream.behind(data.last_seq);
    this.trigger(SERVER_EVENTS.PONG, data);
  }

  /** @param {{ reconnect_after_ms: number }} data */
  #draining(data) {
    this.trigger(SERVER_EVENTS.SERVER_DRAINING, data);
    this.connection.drain(data.reconnect_after_ms);
  }

  /** @param {{ expires_in_s: number }} data */
  #tokenExpiring(data) {
    this.#update({ tokenExpiresAt: Date.now() + data.expires_in_s * 1000 });
    this.trigger(SERVER_EVENTS.TOKEN_EXPIRING, data);
  }

  /** @param {Partial<ConnectionInfo>} change */
  #update(change) {
    const { cursor, inbox, holesClosed } = this.stream;
    const full = { ...change, lastSeq: cursor, duplicates: inbox.duplicates, holesClosed };
    const keys = /** @type {(keyof ConnectionInfo)[]} */ (Object.keys(full));
    if (keys.every((key) => this.info[key] === /** @type {any} */ (full)[key])) return;
    this.info = Object.freeze({ ...this.info, ...full });
    this.trigger("state", this.info);
  }
}

/** The page's connection. */
const websocketService = new WebSocketService();
export default websocketService;
