/** The bar on top of every page, and the tabs at the bottom of small screens. */
import { useState } from "react";
import { useApp } from "../hooks/appContext.js";
import { usePopover } from "../hooks/usePopover.js";
import { useSession } from "../hooks/useStore.js";
import { chosenTheme, chooseTheme } from "../theme.js";
import { ConnectionButton } from "./ConnectionPanel.jsx";
import { ClaimsIcon, LeaderboardIcon, Logo, PlusIcon, UserIcon } from "./icons.jsx";
import { NotificationBell } from "./NotificationBell.jsx";
import { Avatar, Link } from "./parts.jsx";

export function Header({ page }) {
  const { notifications, alerts, router } = useApp();
  const session = useSession();
  const current = (...pages) => (pages.includes(page) ? "page" : undefined);
  return (
    <header className="header">
      <div className="header-inner">
        <Link to="/" className="brand">
          <Logo />
          <span>Vouchstorm</span>
        </Link>
        <nav className="header-nav" aria-label="Main">
          <Link to="/" aria-current={current("claims", "claim")}>
            Claims
          </Link>
          <Link to="/leaderboard" aria-current={current("leaderboard")}>
            Leaderboard
          </Link>
        </nav>
        <div className="header-tools">
          {session ? (
            <>
              <Link to="/claims/new" className="button button-primary header-post">
                Post a claim
              </Link>
              <ConnectionButton />
              <NotificationBell store={notifications} alerts={alerts} open={(path) => router.go(path)} href={(path) => router.href(path)} />
              <UserMenu session={session} />
            </>
          ) : (
            <>
              <Link to="/register" className="button header-register">
                Register
              </Link>
              <Link to="/signin" className="button button-primary">
                Sign in
              </Link>
            </>
          )}
        </div>
      </div>
    </header>
  );
}

/** Navigation within reach of a thumb. */
export function TabBar({ page }) {
  const session = useSession();
  const tabs = [
    { to: "/", label: "Claims", Icon: ClaimsIcon, pages: ["claims", "claim"] },
    { to: "/claims/new", label: "Post", Icon: PlusIcon, pages: ["newClaim"] },
    { to: "/leaderboard", label: "Leaders", Icon: LeaderboardIcon, pages: ["leaderboard"] },
    { to: session ? `/users/${session.userId}` : "/signin", label: session ? "You" : "Sign in", Icon: UserIcon, pages: ["user", "signIn"] },
  ];
  return (
    <nav className="tab-bar" aria-label="Sections">
      {tabs.map(({ to, label, Icon, pages }) => (
        <Link key={label} to={to} aria-current={pages.includes(page) ? "page" : undefined}>
          <Icon />
          {label}
        </Link>
      ))}
    </nav>
  );
}

function UserMenu({ session }) {
  const { signOut, router } = useApp();
  const popover = usePopover();
  const { user } = session;
  return (
    <div className="menu" ref={popover.root}>
      <button
        type="button"
        ref={popover.button}
        className="menu-button"
        aria-haspopup="dialog"
        aria-expanded={popover.open}
        onClick={popover.toggle}
      >
        <Avatar id={user.id} name={user.display_name} />
        <span className="visually-hidden">Account of {user.display_name}</span>
      </button>
      {popover.open && (
        <div ref={popover.panel} className="popover menu-panel" role="dialog" aria-label="Account" tabIndex={-1}>
          <p className="menu-name">
            {user.display_name}
            <span>@{user.username}</span>
          </p>
          <Link to={`/users/${user.id}`} className="menu-row" onClick={() => popover.close()}>
            Your profile
          </Link>
          <Link to="/notifications" className="menu-row" onClick={() => popover.close()}>
            Notifications
          </Link>
          <ThemeChoice />
          <button
            type="button"
            className="menu-row"
            onClick={() => {
              popover.close();
              signOut();
              router.go("/signin");
            }}
          >
            Sign out
          </button>
        </div>
      )}
    </div>
  );
}

function ThemeChoice() {
  const [theme, setTheme] = useState(chosenTheme);
  const choose = (event) => {
    chooseTheme(event.target.value);
    setTheme(event.target.value);
  };
  return (
    <label className="menu-row menu-theme">
      Theme
      <select value={theme} onChange={choose}>
        <option value="system">System</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}
