/**
 * The REST side of the server. Every failure is an `ApiError` with a stable `code` and a sentence for people.
 *
 * @typedef {import("../contracts.generated.js").NotificationPage} NotificationPage
 * @typedef {import("../contracts.generated.js").ClaimPage} ClaimPage
 * @typedef {import("../contracts.generated.js").ClaimOut} ClaimOut
 */
import { CODE } from "../contracts.generated.js";

const TIMEOUT_MS = 10_000;
/** No answer came at all: our own word beside the server's codes. */
export const UNREACHABLE = "unreachable";
/** @type {Set<string>} */
const SESSION_CODES = new Set([CODE.INVALID_TOKEN, CODE.TOKEN_EXPIRED, CODE.TOKEN_REVOKED, CODE.NOT_AUTHENTICATED]);

export class ApiError extends Error {
  /**
   * @param {string} message @param {string} code @param {number} status 0 when there was no answer
   * @param {Array<{ field: string, message: string }>} [errors] per field
   */
  constructor(message, code, status, errors = []) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.errors = errors;
  }
}

export class Api {
  /**
   * @param {object} ports
   * @param {() => string | null} ports.token
   * @param {(token: string, error: ApiError) => void} [ports.refused] the server no longer accepts this token
   * @param {(url: string, options: RequestInit) => Promise<Response>} [ports.request] normally `fetch`
   */
  constructor({ token, refused = () => {}, request = (url, options) => globalThis.fetch(url, options) }) {
    this.ports = { token, refused, request };
  }

  /** @param {{ username: string, password: string }} body @returns {Promise<import("../contracts.generated.js").SessionOut>} */
  login = (body) => this.#send("POST", "/api/auth/login", { body, anonymous: true });

  /** @param {object} body @returns {Promise<import("../contracts.generated.js").SessionOut>} */
  register = (body) => this.#send("POST", "/api/auth/register", { body, anonymous: true });

  /** @returns {Promise<void>} */
  logout = () => this.#send("POST", "/api/auth/logout");

  /** @param {{ status?: string, cursor?: string | null, owner_id?: string, limit?: number }} query @returns {Promise<ClaimPage>} */
  claims = (query) => this.#send("GET", "/api/claims", { query });

  /** @param {string} id @returns {Promise<ClaimOut>} */
  claim = (id) => this.#send("GET", `/api/claims/${encodeURIComponent(id)}`);

  /** @param {object} body @param {string} key @returns {Promise<ClaimOut>} */
  postClaim = (body, key) => this.#send("POST", "/api/claims", { body, key });

  /** @param {string} id @param {string | null} cursor @returns {Promise<import("../contracts.generated.js").ValidationPage>} */
  validations = (id, cursor = null) =>
    this.#send("GET", `/api/claims/${encodeURIComponent(id)}/validations`, { query: { cursor, limit: 100 } });

  /** @param {string} id @param {object} body @param {string} key @returns {Promise<import("../contracts.generated.js").ValidatedOut>} */
  validate = (id, body, key) =>
    this.#send("POST", `/api/claims/${encodeURIComponent(id)}/validations`, { body, key });

  /** @param {{ after_seq?: number, before_seq?: number, unread?: boolean, limit?: number }} query @returns {Promise<NotificationPage>} */
  notifications = (query) => this.#send("GET", "/api/notifications", { query });

  /** @param {string} id @returns {Promise<import("../contracts.generated.js").ReadOut>} */
  markRead = (id) => this.#send("POST", `/api/notifications/${encodeURIComponent(id)}/read`);

  /** @param {number} upToSeq @returns {Promise<import("../contracts.generated.js").ReadAllOut>} */
  markAllRead = (upToSeq) => this.#send("POST", "/api/notifications/read-all", { body: { up_to_seq: upToSeq } });

  /** @param {string} id @returns {Promise<import("../contracts.generated.js").UserOut>} */
  user = (id) => this.#send("GET", `/api/users/${encodeURIComponent(id)}`);

  /** @param {string | null} cursor @returns {Promise<import("../contracts.generated.js").Leaderboard>} */
  leaderboard = (cursor = null) => this.#send("GET", "/api/leaderboard", { query: { cursor } });

  /** @returns {Promise<import("../contracts.generated.js").BadgeCatalog>} */
  badges = () => this.#send("GET", "/api/badges");

  /**
   * @param {string} method @param {string} path
   * @param {{ query?: Record<string, any>, body?: object, key?: string, anonymous?: boolean }} [more]
   * @returns {Promise<any>}
   */
  async #send(method, path, { query = {}, body, key, anonymous = false } = {}) {
    const token = anonymous ? null : this.ports.token();
    const response = await this.#fetch(path + queryString(query), {
      method,
      cache: "no-store",
      headers: {
        Accept: "application/json",
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
        ...(body ? { "Content-Type": "application/json" } : {}),
        ...(key ? { "Idempotency-Key": key } : {}),
      },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.ok) return response.status === 204 ? undefined : this.#body(response);
    const error = await problem(response);
    if (token && SESSION_CODES.has(error.code)) this.ports.refused(token, error);
    throw error;
  }

  /** @param {string} url @param {RequestInit} options */
  async #fetch(url, options) {
    try {
      return await this.ports.request(url, options);
    } catch (error) {
      throw unreachable(error);
    }
  }

  /** @param {Response} response */
  async #body(response) {
    try {
      return await response.json();
    } catch (error) {
      // A whole answer that is no JSON came from somebody else: a portal, a proxy.
      if (error instanceof SyntaxError) throw new ApiError("What answered is not this server.", UNREACHABLE, 0);
      throw unreachable(error);
    }
  }
}

/** @param {unknown} error why no answer came, or not the whole of it */
function unreachable(error) {
  const slow = error instanceof DOMException && error.name === "TimeoutError";
  return new ApiError(slow ? "The server takes too long to answer." : "The server cannot be reached.", UNREACHABLE, 0);
}

/** @param {Record<string, any>} query entries without a value are left out */
function queryString(query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}

/** @param {Response} response */
async function problem(response) {
  try {
    const { detail, title, code, errors } = await response.json();
    return new ApiError(detail ?? title, code ?? "unknown", response.status, errors ?? []);
  } catch {
    return new ApiError(`The server answered with status ${response.status}.`, "unknown", response.status);
  }
}

/** A key that makes a repeated POST harmless; also outside secure contexts, where randomUUID is missing. */
export function newIdempotencyKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
