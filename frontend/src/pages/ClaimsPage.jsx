import { useEffect, useState } from "react";
import { ClaimCard } from "../components/ClaimCard.jsx";
import { Avatar, EmptyState, ErrorState, Link, LoadMore, PageTitle, Skeleton } from "../components/parts.jsx";
import { useApp } from "../hooks/appContext.js";
import { useLoaded } from "../hooks/useLoaded.js";
import { usePages } from "../hooks/usePages.js";
import { useSession } from "../hooks/useStore.js";
import { STATUS_LABELS } from "../wording.js";

const RELOAD_SPREAD_MS = 3_000;
const FILTERS = { "": "All", ...STATUS_LABELS };

export function ClaimsPage() {
  const { api, service } = useApp();
  const session = useSession();
  const [status, setStatus] = useState("");
  const claims = usePages(`claims:${status}`, (cursor) => api.claims({ status: status || undefined, cursor }), (claim) => claim.id);
  const { reload } = claims;
  // No event tells of a new claim: look again when the connection comes back and when the page is looked at.
  useEffect(() => afterReconnection(service, reload), [service, reload]);
  useEffect(() => {
    const look = () => document.hidden || reload();
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, [reload]);
  return (
    <div className="with-aside">
      <section aria-labelledby="page-title">
        <PageTitle>Claims</PageTitle>
        <div className="chips" role="group" aria-label="Show claims that are">
          {Object.entries(FILTERS).map(([value, label]) => (
            <button key={value} type="button" className="chip" aria-pressed={status === value} onClick={() => setStatus(value)}>
              {label}
            </button>
          ))}
        </div>
        <ClaimList claims={claims} status={status} signedIn={Boolean(session)} />
      </section>
      <aside className="aside">
        {!session && <Welcome />}
        <HowItWorks />
        <TopValidators />
      </aside>
    </div>
  );
}

/** Not on the first connection, and spread out: thousands come back together. */
function afterReconnection(service, act) {
  let timer;
  const stop = service.on("authenticated", ({ recovered }) => {
    clearTimeout(timer);
    if (recovered !== null) timer = setTimeout(act, Math.random() * RELOAD_SPREAD_MS);
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}

function ClaimList({ claims, status, signedIn }) {
  if (claims.items === null) return claims.error ? <ErrorState error={claims.error} retry={claims.reload} /> : <Skeleton rows={5} label="Loading claims" />;
  if (claims.items.length === 0) {
    return (
      <EmptyState
        title={status ? `No ${STATUS_LABELS[status].toLowerCase()} claims` : "No claims yet"}
        action={signedIn && !status && <Link to="/claims/new" className="button button-primary">Post the first one</Link>}
      >
        {status ? "Choose another filter, or come back later." : "Somebody has to say something first."}
      </EmptyState>
    );
  }
  return (
    <>
      <div className="claim-list">
        {claims.items.map((claim) => (
          <ClaimCard key={claim.id} claim={claim} />
        ))}
      </div>
      <LoadMore more={claims.more}>Older claims</LoadMore>
    </>
  );
}

function Welcome() {
  return (
    <div className="panel panel-accent">
      <h2>Is it true?</h2>
      <p>Vouch for claims, dispute them, and watch the community settle them while it happens.</p>
      <Link to="/register" className="button button-primary">
        Join Vouchstorm
      </Link>
    </div>
  );
}

function HowItWorks() {
  return (
    <div className="panel">
      <h2>How a claim is settled</h2>
      <ol className="steps">
        <li>Somebody posts a claim.</li>
        <li>Others vouch, dispute, or say that they are unsure.</li>
        <li>With enough validations and a clear majority it is verified, refuted or inconclusive.</li>
        <li>Who agreed with the outcome gains trust; who did not loses some.</li>
      </ol>
    </div>
  );
}

function TopValidators() {
  const { api } = useApp();
  const { data } = useLoaded("top", () => api.leaderboard());
  if (!data || data.items.length === 0) return null;
  return (
    <div className="panel">
      <h2>Most trusted</h2>
      <ol className="top-list">
        {data.items.slice(0, 5).map(({ rank, user }) => (
          <li key={user.id}>
            <span className="rank">{rank}</span>
            <Avatar id={user.id} name={user.display_name} />
            <Link to={`/users/${user.id}`}>{user.display_name}</Link>
            <b>{user.trust_score}</b>
          </li>
        ))}
      </ol>
      <Link to="/leaderboard" className="panel-more">
        Leaderboard
      </Link>
    </div>
  );
}
