/** One notification: what happened, how important it is, and whether it was read. */
import { useNow } from "../hooks/useNow.js";
import { timeAgo } from "../wording.js";
import { SystemIcon, TYPE_ICONS } from "./icons.jsx";

export function NotificationItem({ item, follow, href }) {
  const now = useNow();
  const TypeIcon = TYPE_ICONS[item.type] ?? SystemIcon;
  const className = `note note-${item.priority}${item.read ? "" : " note-unread"}`;
  const content = (
    <>
      <span className={`note-icon note-icon-${item.type}`}>
        <TypeIcon />
      </span>
      <span className="note-text">
        <span className="note-title">
          {!item.read && <span className="visually-hidden">Unread: </span>}
          {item.title}
        </span>
        <span className="note-message">{item.message}</span>
        <time className="note-time" dateTime={item.created_at}>
          {timeAgo(item.created_at, now)}
        </time>
      </span>
      {!item.read && <span className="note-dot" aria-hidden="true" />}
    </>
  );
  const activate = (event) => {
    event.preventDefault();
    follow(item);
  };
  return item.action_url ? (
    <a className={className} href={href(item.action_url)} onClick={activate} data-seq={item.seq}>
      {content}
    </a>
  ) : (
    <button type="button" className={className} onClick={activate} data-seq={item.seq}>
      {content}
    </button>
  );
}
