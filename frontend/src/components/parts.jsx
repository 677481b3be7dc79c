/** The small pieces that every page is made of. */
import { useApp } from "../hooks/appContext.js";
import { useNow } from "../hooks/useNow.js";
import { STATUS_LABELS, initials, longDate, timeAgo } from "../wording.js";
import { STATUS_ICONS } from "./icons.jsx";

/** A link inside the application: an ordinary click changes the page without loading it again. */
export function Link({ to, children, onClick, ...more }) {
  const { router } = useApp();
  const follow = (event) => {
    onClick?.(event);
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (event.defaultPrevented || !plain) return;
    event.preventDefault();
    router.go(to);
  };
  return (
    <a href={router.href(to)} onClick={follow} {...more}>
      {children}
    </a>
  );
}

export function TimeAgo({ when }) {
  const now = useNow();
  return (
    <time dateTime={when} title={new Date(when).toLocaleString("en")}>
      {timeAgo(when, now)}
    </time>
  );
}

export function DateOf({ when }) {
  return <time dateTime={when}>{longDate(when)}</time>;
}

export function StatusBadge({ status }) {
  const StatusIcon = STATUS_ICONS[status];
  return (
    <span className={`status status-${status}`}>
      <StatusIcon />
      {STATUS_LABELS[status]}
    </span>
  );
}

/** Two letters on a colour that stays with the user. */
export function Avatar({ id, name, large = false }) {
  let hash = 0;
  for (const letter of id) hash = (hash * 31 + letter.charCodeAt(0)) % 997;
  return (
    <span className={`avatar avatar-${hash % 6}${large ? " avatar-large" : ""}`} aria-hidden="true">
      {initials(name)}
    </span>
  );
}

export function Skeleton({ rows = 3, label = "Loading" }) {
  return (
    <div className="skeleton" role="status">
      <span className="visually-hidden">{label}</span>
      {Array.from({ length: rows }, (_, index) => (
        <div className="skeleton-row" key={index} aria-hidden="true">
          <span />
          <span />
          <span />
        </div>
      ))}
    </div>
  );
}

export function EmptyState({ title, children, action = null }) {
  return (
    <div className="empty">
      <svg className="empty-art" viewBox="0 0 96 48" aria-hidden="true" focusable="false">
        <rect x="1" y="8" width="94" height="10" rx="5" />
        <rect x="1" y="26" width="62" height="10" rx="5" />
        <circle cx="82" cy="31" r="6" />
      </svg>
      <p className="empty-title">{title}</p>
      {children && <p>{children}</p>}
      {action}
    </div>
  );
}

export function ErrorState({ error, retry }) {
  return (
    <div className="empty" role="alert">
      <p className="empty-title">This could not be loaded</p>
      <p>{error.message}</p>
      {retry && (
        <button type="button" className="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function LoadMore({ more, children = "Load more" }) {
  if (!more.available) return null;
  return (
    <div className="load-more">
      {more.error && (
        <p className="form-error" role="alert">
          {more.error.message}
        </p>
      )}
      <button type="button" className="button" onClick={more.load} disabled={more.busy}>
        {more.busy ? "Loading…" : children}
      </button>
    </div>
  );
}

/** The heading of a page; it takes the focus when the page changes, so that it is read out. */
export function PageTitle({ children, aside = null }) {
  return (
    <div className="page-title">
      <h1 tabIndex={-1} id="page-title">
        {children}
      </h1>
      {aside}
    </div>
  );
}
