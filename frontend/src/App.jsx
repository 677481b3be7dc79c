/** The frame of every page, and which page it is. */
import { useEffect, useRef } from "react";
import { StatusBanner } from "./components/ConnectionPanel.jsx";
import { Header, TabBar } from "./components/Header.jsx";
import { AppContext, useApp } from "./hooks/appContext.js";
import { useStore } from "./hooks/useStore.js";
import { ClaimPage } from "./pages/ClaimPage.jsx";
import { ClaimsPage } from "./pages/ClaimsPage.jsx";
import { LeaderboardPage } from "./pages/LeaderboardPage.jsx";
import { NewClaimPage } from "./pages/NewClaimPage.jsx";
import { NotFoundPage } from "./pages/NotFoundPage.jsx";
import { NotificationsPage } from "./pages/NotificationsPage.jsx";
import { RegisterPage, SignInPage } from "./pages/SignPages.jsx";
import { UserPage } from "./pages/UserPage.jsx";
import { matchRoute } from "./router.js";
import { badgeLabel } from "./wording.js";

const PAGES = {
  claims: { View: ClaimsPage, title: "Claims" },
  claim: { View: ClaimPage, title: "Claim" },
  newClaim: { View: NewClaimPage, title: "Post a claim", needsUser: true },
  notifications: { View: NotificationsPage, title: "Notifications", needsUser: true },
  leaderboard: { View: LeaderboardPage, title: "Leaderboard" },
  user: { View: UserPage, title: "Profile" },
  signIn: { View: SignInPage, title: "Sign in" },
  register: { View: RegisterPage, title: "Register" },
  notFound: { View: NotFoundPage, title: "Not found" },
};

export function App({ app }) {
  return (
    <AppContext.Provider value={app}>
      <Frame />
    </AppContext.Provider>
  );
}

function Frame() {
  const { router, session } = useApp();
  const { path } = useStore(router.location);
  const { session: signedIn, notice } = useStore(session.state);
  const { page, id } = matchRoute(path);
  const { View, title, needsUser = false } = PAGES[page];
  const turnedAway = needsUser && !signedIn;
  useSessionNotice(notice, path);
  useTitle(title);
  useFocusOnTitle(path);
  return (
    <>
      <a className="skip-link" href="#page-title">
        Skip to content
      </a>
      <Header page={page} />
      <StatusBanner />
      <main className="main">
        {turnedAway ? <SignInPage key="turned-away" next={path} /> : <View key={page + (id ?? "")} id={id} />}
      </main>
      <TabBar page={page} />
    </>
  );
}

/** A session that ended by itself leads to the sign-in page, which says why, and from there back. */
function useSessionNotice(notice, path) {
  const { router } = useApp();
  const from = useRef(path);
  from.current = path;
  useEffect(() => {
    const next = from.current;
    if (notice && next !== "/signin") router.go(`/signin?next=${encodeURIComponent(next)}`, { replace: true });
  }, [notice, router]);
}

function useTitle(title) {
  const { notifications } = useApp();
  const { unread } = useStore(notifications.state);
  useEffect(() => {
    document.title = `${unread > 0 ? `(${badgeLabel(unread)}) ` : ""}${title} · Vouchstorm`;
  }, [title, unread]);
}

/** A new page is read out from its heading; the very first one is left to the browser. */
function useFocusOnTitle(path) {
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) document.getElementById("page-title")?.focus({ preventScroll: true });
    first.current = false;
  }, [path]);
}
