/**
 * The bell: how many are unread, the five newest, and a way to all of them.
 *
 * Needs nothing but its ports, so that it can be copied: a notification store (`state`, `markRead`, `markAllRead`,
 * `compare`), the browser's alerts (`permission`, `ask`), and `open(path)` / `href(path)` of the page's router.
 */
import { useEffect, useState } from "react";
import { usePopover } from "../hooks/usePopover.js";
import { useStore } from "../hooks/useStore.js";
import { badgeLabel, plural } from "../wording.js";
import { BellIcon } from "./icons.jsx";
import { NotificationItem } from "./NotificationItem.jsx";
import "./NotificationBell.css";

const SHOWN = 5;
const ANNOUNCE_AFTER_MS = 800;
const PANEL_ID = "notification-panel";

export function NotificationBell({ store, alerts, open, href }) {
  const state = useStore(store.state);
  const popover = usePopover();
  const label = state.unread > 0 ? `Notifications, ${state.unread} unread` : "Notifications";
  const follow = (item) => {
    void store.markRead(item.id);
    popover.close(true);
    if (item.action_url) open(item.action_url);
  };
  return (
    <div className="bell" ref={popover.root}>
      <button
        type="button"
        ref={popover.button}
        className="bell-button"
        aria-haspopup="dialog"
        aria-expanded={popover.open}
        aria-controls={popover.open ? PANEL_ID : undefined}
        onClick={popover.toggle}
        data-exact={state.exact}
      >
        <BellIcon />
        <span className="visually-hidden">{label}</span>
        {state.unread > 0 && (
          // A new key starts the pulse again.
          <span className="bell-badge" key={state.unread} data-testid="unread" aria-hidden="true">
            {badgeLabel(state.unread)}
          </span>
        )}
      </button>
      <Announcer unread={state.unread} ready={state.status === "ready"} />
      {popover.open && (
        <div id={PANEL_ID} ref={popover.panel} className="bell-panel" role="dialog" aria-label="Notifications" tabIndex={-1} onKeyDown={moveFocus}>
          <div className="bell-head">
            <h2>Notifications</h2>
            {state.unread > 0 && (
              <button type="button" className="link-button" onClick={() => void store.markAllRead()}>
                Mark all read
              </button>
            )}
          </div>
          {state.error && (
            <p className="form-error bell-error" role="alert">
              {state.error}
            </p>
          )}
          <BellList state={state} store={store} follow={follow} href={href} />
          <AlertsOffer alerts={alerts} />
          <a
            className="bell-all"
            href={href("/notifications")}
            onClick={(event) => {
              event.preventDefault();
              popover.close(true);
              open("/notifications");
            }}
          >
            View all
          </a>
        </div>
      )}
    </div>
  );
}

function BellList({ state, store, follow, href }) {
  if (state.status === "loading") return <p className="bell-empty">Loading…</p>;
  if (state.status === "failed") {
    return (
      <p className="bell-empty">
        <button type="button" className="button" onClick={() => store.compare()}>
          Try again
        </button>
      </p>
    );
  }
  if (state.items.length === 0) {
    return <p className="bell-empty">Nothing yet. News of your claims and validations lands here.</p>;
  }
  return (
    <ul className="bell-list">
      {state.items.slice(0, SHOWN).map((item) => (
        <li key={item.id}>
          <NotificationItem item={item} follow={follow} href={href} />
        </li>
      ))}
    </ul>
  );
}

/** Browsers ask for the permission only as the answer to a click; so there is something to click. */
function AlertsOffer({ alerts }) {
  const permission = useStore(alerts.permission);
  if (permission !== "default") return null;
  return (
    <button type="button" className="bell-offer" onClick={() => void alerts.ask()}>
      Show alerts on this computer, too
    </button>
  );
}

/** Tells a screen reader the number, once it has settled: a burst of fifty is one sentence. */
function Announcer({ unread, ready }) {
  const [said, setSaid] = useState({ known: /** @type {number | null} */ (null), words: "" });
  useEffect(() => {
    if (!ready) return undefined;
    const timer = setTimeout(() => setSaid((before) => settled(before, unread)), ANNOUNCE_AFTER_MS);
    return () => clearTimeout(timer);
  }, [unread, ready]);
  return (
    <span className="visually-hidden" role="status" data-known={said.known}>
      {said.words}
    </span>
  );
}

/** The number is known now; only one that grew is worth words, and words that stand there already are not said again. */
function settled({ known, words }, unread) {
  if (known === null || unread === known) return { known: unread, words };
  return { known: unread, words: unread > known ? plural(unread, "unread notification") : "" };
}

/** Arrow keys, Home and End move among what can be activated in the panel. */
function moveFocus(event) {
  const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const stops = [...event.currentTarget.querySelectorAll(".bell-list a, .bell-list button")];
  const at = stops.indexOf(document.activeElement);
  const wanted = at < 0 && step > 0 ? 0 : at + step;
  stops[Math.max(0, Math.min(stops.length - 1, wanted))]?.focus();
}
