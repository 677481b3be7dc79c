/**
 * What a page can show of its connection.
 *
 * @typedef {object} ConnectionInfo
 * @property {import("./reconnectingSocket.js").ConnectionState} state `reconnecting`: one of the quick attempts is
 *   due or running; `offline`: the patient rhythm; `refused`: the server does not accept the credentials
 * @property {boolean} trying an attempt is running at this moment
 * @property {boolean} connected
 * @property {boolean} authenticated
 * @property {string | null} url
 * @property {string | null} userId
 * @property {string | null} sessionId
 * @property {string | null} transport `websocket` or `polling`
 * @property {string | null} node which backend process answers
 * @property {number | null} connectedUsers
 * @property {number | null} lastSeq seq of the newest notification that was passed on
 * @property {number | null} latencyMs round trip of the last ping
 * @property {number} attempt failed attempts in a row
 * @property {number | null} retryAt when the next attempt starts, epoch ms
 * @property {number} reconnects
 * @property {number} duplicates notifications that came again and were dropped
 * @property {number} holesClosed holes that were closed by asking
 * @property {string | null} reason why it is not online, for people
 * @property {number | null} tokenExpiresAt epoch ms, once the server warned
 */

/** @returns {Readonly<ConnectionInfo>} */
export function initialInfo() {
  return Object.freeze({
    state: "idle",
    trying: false,
    connected: false,
    authenticated: false,
    url: null,
    userId: null,
    sessionId: null,
    transport: null,
    node: null,
    connectedUsers: null,
    lastSeq: null,
    latencyMs: null,
    attempt: 0,
    retryAt: null,
    reconnects: 0,
    duplicates: 0,
    holesClosed: 0,
    reason: null,
    tokenExpiresAt: null,
  });
}
