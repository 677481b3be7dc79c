import { useState } from "react";
import { NotificationItem } from "../components/NotificationItem.jsx";
import { EmptyState, ErrorState, PageTitle, Skeleton } from "../components/parts.jsx";
import { useApp } from "../hooks/appContext.js";
import { useNow } from "../hooks/useNow.js";
import { useStore } from "../hooks/useStore.js";
import { TYPE_LABELS, dayLabel, plural } from "../wording.js";

export function NotificationsPage() {
  const { notifications } = useApp();
  const state = useStore(notifications.state);
  const [unreadOnly, setUnreadOnly] = useState(false);
  const [type, setType] = useState("");
  return (
    <section className="narrow" aria-labelledby="page-title">
      <PageTitle
        aside={
          state.unread > 0 && (
            <button type="button" className="button" onClick={() => void notifications.markAllRead()}>
              Mark all read
            </button>
          )
        }
      >
        Notifications
      </PageTitle>
      <p className="meta" data-testid="unread-line">
        {state.status === "ready" && (state.unread > 0 ? `${plural(state.unread, "unread notification")}` : "All caught up.")}
      </p>
      <div className="filters">
        <div className="chips" role="group" aria-label="Show">
          <Chip on={!unreadOnly} choose={() => setUnreadOnly(false)}>
            All
          </Chip>
          <Chip on={unreadOnly} choose={() => setUnreadOnly(true)}>
            Unread
          </Chip>
        </div>
        <div className="chips" role="group" aria-label="About">
          <Chip on={type === ""} choose={() => setType("")}>
            Everything
          </Chip>
          {Object.entries(TYPE_LABELS).map(([value, label]) => (
            <Chip key={value} on={type === value} choose={() => setType(value)}>
              {label}
            </Chip>
          ))}
        </div>
      </div>
      {state.error && state.status === "ready" && (
        <p className="form-error" role="alert">
          {state.error}
        </p>
      )}
      <NotificationFeed state={state} unreadOnly={unreadOnly} type={type} />
    </section>
  );
}

function Chip({ on, choose, children }) {
  return (
    <button type="button" className="chip" aria-pressed={on} onClick={choose}>
      {children}
    </button>
  );
}

function NotificationFeed({ state, unreadOnly, type }) {
  const { notifications, router } = useApp();
  const now = useNow();
  const [busy, setBusy] = useState(false);
  if (state.status === "failed") return <ErrorState error={new Error(state.error)} retry={() => notifications.compare()} />;
  if (state.status !== "ready") return <Skeleton rows={6} label="Loading notifications" />;
  const loaded = unreadOnly ? state.unreadItems : state.items;
  const shown = type ? loaded.filter((item) => item.type === type) : loaded;
  const older = unreadOnly ? state.hasOlderUnread : state.hasOlder;
  const follow = (item) => {
    void notifications.markRead(item.id);
    if (item.action_url) router.go(item.action_url);
  };
  const loadOlder = async () => {
    setBusy(true);
    await notifications.loadOlder(unreadOnly);
    setBusy(false);
  };
  return (
    <>
      {groupByDay(shown, now).map(({ day, items }) => (
        <section key={day} aria-label={day}>
          <h2 className="section-title">{day}</h2>
          <ul className="note-list">
            {items.map((item) => (
              <li key={item.id}>
                <NotificationItem item={item} follow={follow} href={(path) => router.href(path)} />
              </li>
            ))}
          </ul>
        </section>
      ))}
      {shown.length === 0 && <NothingShown unreadOnly={unreadOnly} type={type} loaded={loaded.length} older={older} />}
      {older && (
        <div className="load-more">
          <button type="button" className="button" disabled={busy} onClick={() => void loadOlder()}>
            {busy ? "Loading…" : "Older notifications"}
          </button>
        </div>
      )}
    </>
  );
}

function NothingShown({ unreadOnly, type, loaded, older }) {
  if (type && loaded > 0) {
    return <EmptyState title="None of this kind">{older ? `None among the newest ${loaded}; there are older ones.` : "Nothing of this kind has happened yet."}</EmptyState>;
  }
  if (unreadOnly) return <EmptyState title="Nothing unread">You have seen everything.</EmptyState>;
  return <EmptyState title="Nothing yet">Post a claim or validate one: what comes of it is told here.</EmptyState>;
}

/** @param {any[]} items newest first @param {number} now */
function groupByDay(items, now) {
  const groups = [];
  for (const item of items) {
    const day = dayLabel(item.created_at, now);
    if (groups.at(-1)?.day !== day) groups.push({ day, items: [] });
    groups.at(-1).items.push(item);
  }
  return groups;
}
