/**
 * Where the Socket.IO server is, told the way people tell it.
 *
 * In the raw client the path of a URL names a *namespace*: `io("http://host/ws")` would talk to the wrong
 * place. Here the path is where the server is mounted.
 */
import { SOCKETIO_PATH } from "../contracts.generated.js";

const DEFAULT_PATH = SOCKETIO_PATH.replace(/\/+$/, "");
const ENGINE_SEGMENT = "/socket.io";

/**
 * Split a service URL into the origin and the Engine.IO path.
 *
 * `http://host:8000/ws`, `ws://host:8000/ws`, `host:8000/ws`, `/ws`, `http://host:8000` and nothing at all are
 * all understood; query and fragment are dropped, because a token must never travel in a URL.
 *
 * @param {string | undefined | null} url
 * @param {string} base where relative URLs start, normally `window.location.href`
 * @returns {{ origin: string, path: string }}
 */
export function splitSocketUrl(url, base) {
  const absolute = new URL(withScheme((url ?? "").trim(), base), base);
  const protocol = absolute.protocol.replace(/^ws/, "http");
  return { origin: `${protocol}//${absolute.host}`, path: enginePath(absolute.pathname, Boolean(url)) };
}

/** @param {string} url @param {string} base */
function withScheme(url, base) {
  const hostAndPort = /^(\[[0-9a-f:]+\]|[a-z0-9.-]+):\d+(\/|$)/i.test(url);
  return hostAndPort ? `${new URL(base).protocol}//${url}` : url;
}

/** @param {string} pathname @param {boolean} given whether the caller named a path at all */
function enginePath(pathname, given) {
  const trimmed = pathname.replace(/\/+$/, "");
  if (!given || trimmed === "") return DEFAULT_PATH;
  return trimmed.endsWith(ENGINE_SEGMENT) ? trimmed : trimmed + ENGINE_SEGMENT;
}
