/** How the connection is: a dot in the header, the facts behind it, and a banner when something is wrong. */
import { useEffect, useState } from "react";
import { useApp } from "../hooks/appContext.js";
import { useSecond } from "../hooks/useNow.js";
import { usePopover } from "../hooks/usePopover.js";
import { useConnection } from "../hooks/useStore.js";
import { QUICK_ATTEMPTS } from "../services/reconnectPolicy.js";
import { plural } from "../wording.js";
import { Link } from "./parts.jsx";

const STATE_LABELS = {
  idle: "Not connected",
  connecting: "Connecting",
  online: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
  refused: "Signed out",
};
const TRANSPORT_LABELS = { websocket: "WebSocket", polling: "Long polling" };
/** A hiccup shorter than this is nobody's business. */
const BANNER_AFTER_MS = 900;

export function ConnectionButton() {
  const { service } = useApp();
  const info = useConnection();
  const popover = usePopover();
  const { open } = popover;
  useEffect(() => {
    if (open) {
      service.askStatus();
      service.checkNow();
    }
  }, [open, service]);
  return (
    <div className="menu" ref={popover.root}>
      <button
        type="button"
        ref={popover.button}
        className={`connection-button connection-${info.state}`}
        aria-label={`Connection: ${STATE_LABELS[info.state]}`}
        aria-haspopup="dialog"
        aria-expanded={popover.open}
        onClick={popover.toggle}
        data-state={info.state}
      >
        <span className="connection-dot" aria-hidden="true" />
        <span className="connection-word">{STATE_LABELS[info.state]}</span>
      </button>
      {popover.open && (
        <div ref={popover.panel} className="popover connection-panel" role="dialog" aria-label="Connection" tabIndex={-1}>
          <h2>Connection</h2>
          <ConnectionFacts info={info} />
        </div>
      )}
    </div>
  );
}

function ConnectionFacts({ info }) {
  const facts = [
    ["State", STATE_LABELS[info.state]],
    ["Transport", TRANSPORT_LABELS[info.transport] ?? "–"],
    ["Node", info.node ?? "–"],
    ["Round trip", info.latencyMs === null ? "–" : `${info.latencyMs} ms`],
    ["Users online", info.connectedUsers ?? "–"],
    ["Last notification", info.lastSeq === null ? "–" : `no. ${info.lastSeq}`],
    ["Reconnections", info.reconnects],
    ["Repeats dropped", info.duplicates],
    ["Gaps closed", info.holesClosed],
  ];
  return (
    <>
      <dl className="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd data-fact={name}>{value}</dd>
          </div>
        ))}
      </dl>
      {info.reason && info.state !== "online" && <p className="facts-reason">{info.reason}</p>}
      <RetryButton info={info} />
    </>
  );
}

function RetryButton({ info }) {
  const { service } = useApp();
  if (info.state !== "reconnecting" && info.state !== "offline") return null;
  return (
    <button type="button" className="button button-small" disabled={info.trying} onClick={() => service.retryNow()}>
      {info.trying ? "Trying…" : "Retry now"}
    </button>
  );
}

/** What the user must know now: being offline, or a session about to end. */
export function StatusBanner() {
  const info = useConnection();
  const away = info.state === "reconnecting" || info.state === "offline";
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(away), away ? BANNER_AFTER_MS : 0);
    return () => clearTimeout(timer);
  }, [away]);
  if (away && late) return <AwayBanner info={info} />;
  if (info.tokenExpiresAt !== null && info.state === "online") return <ExpiryBanner at={info.tokenExpiresAt} />;
  return null;
}

function AwayBanner({ info }) {
  const now = useSecond();
  const waitS = info.retryAt === null ? 0 : Math.max(0, Math.ceil((info.retryAt - now) / 1000));
  const when = info.trying || waitS === 0 ? "Trying now…" : `Next try in ${plural(waitS, "second")}.`;
  const offline = info.state === "offline";
  const attempt = Math.min(info.attempt + (info.trying ? 0 : 1), QUICK_ATTEMPTS);
  return (
    <div className={`banner ${offline ? "banner-offline" : "banner-warn"}`} data-testid="status-banner">
      <p>
        <strong role="status">{offline ? "You are offline." : "Reconnecting."}</strong> <span>{info.reason}</span>{" "}
        <span className="banner-when">{offline || info.attempt === 0 ? when : `${when} Attempt ${attempt} of ${QUICK_ATTEMPTS}.`}</span>
        {offline && <span> Numbers may be old; nothing is lost.</span>}
      </p>
      <RetryButton info={info} />
    </div>
  );
}

function ExpiryBanner({ at }) {
  const now = useSecond();
  const leftS = Math.max(0, Math.ceil((at - now) / 1000));
  return (
    <div className="banner banner-warn" data-testid="status-banner">
      <p>
        <strong role="status">Your session is about to end.</strong> <span>{plural(leftS, "second")} left.</span>
      </p>
      <Link to="/signin?again=1" className="button button-small">
        Sign in again
      </Link>
    </div>
  );
}
