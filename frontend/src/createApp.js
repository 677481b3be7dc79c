/**
 * Everything of one page load, wired together once: session, REST, connection, stores.
 *
 * Called by `main.jsx`; the tests of single parts build those parts themselves.
 */
import { Api } from "./services/api.js";
import websocketService from "./services/websocketService.js";
import { Router } from "./router.js";
import { DesktopAlerts } from "./state/desktopAlerts.js";
import { LiveClaims } from "./state/liveClaims.js";
import { NotificationStore } from "./state/notificationStore.js";
import { SessionStore } from "./state/session.js";
import { CODE } from "./contracts.generated.js";

const CHANNEL = "vouchstorm";
/** Connection states in which nothing happens by itself. */
const AWAY = new Set(["idle", "refused"]);
const ENDED = {
  [CODE.TOKEN_EXPIRED]: "Your session has expired. Sign in again to go on.",
  [CODE.TOKEN_REVOKED]: "You were signed out. Sign in again to go on.",
};
const ENDED_OTHERWISE = "Your session is no longer valid. Sign in again to go on.";

/** @param {Window} page */
export function createApp(page = window) {
  const session = new SessionStore();
  const service = websocketService;
  const router = new Router(page);
  const api = new Api({
    token: () => session.token,
    refused: (token, error) => session.expire(token, ENDED[error.code] ?? ENDED_OTHERWISE),
  });
  const tabs = newTabChannel();
  const notifications = new NotificationStore({
    api,
    service,
    tellTabs: (message) => tabs?.postMessage({ ...message, userId: session.state.value.session?.userId }),
  });
  const app = {
    api,
    router,
    service,
    session,
    notifications,
    liveClaims: new LiveClaims({ api, service }),
    alerts: new DesktopAlerts({ service, open: (path) => router.go(path), page }),
    signOut: () => signOut(api, session),
  };
  followSession(app);
  followPage(app, page);
  tabs?.addEventListener("message", ({ data }) => {
    const mine = data?.kind === "read" && data.userId === session.state.value.session?.userId;
    if (mine) notifications.readElsewhere(data);
  });
  return app;
}

/** @returns {BroadcastChannel | null} */
function newTabChannel() {
  return globalThis.BroadcastChannel ? new BroadcastChannel(CHANNEL) : null;
}

/** The connection and the bell follow who is signed in. */
function followSession({ session, service, notifications }) {
  let userId = null;
  const follow = () => {
    const now = session.state.value.session;
    if (now) service.authenticate(now.userId, now.token);
    else if (userId) service.signOut();
    if (now && AWAY.has(service.getConnectionInfo().state)) service.connect();
    if (now?.userId !== userId) {
      userId = now?.userId ?? null;
      if (now) notifications.start();
      else notifications.stop();
    }
  };
  session.state.subscribe(follow);
  service.on("refused", ({ code }) => session.expire(session.token, ENDED[code] ?? ENDED_OTHERWISE));
  service.startKeepAlive();
  follow();
}

/** Other tabs, sleep and networks that come and go. */
function followPage({ session, service }, page) {
  page.addEventListener("storage", (event) => session.changedElsewhere(event));
  page.addEventListener("online", () => service.checkNow());
  page.addEventListener("offline", () => service.checkNow());
  page.document.addEventListener("visibilitychange", () => {
    if (!page.document.hidden) service.checkNow();
  });
}

/** The session ends here at once; if the server cannot be told, the token ends by its own date. */
function signOut(api, session) {
  api.logout().catch(() => {});
  session.signOut();
}
