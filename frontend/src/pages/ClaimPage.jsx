import { useEffect, useRef, useState } from "react";
import { QuorumCount } from "../components/ClaimCard.jsx";
import { ConsensusMoment } from "../components/ConsensusMoment.jsx";
import { LinkIcon } from "../components/icons.jsx";
import { Avatar, EmptyState, ErrorState, Link, PageTitle, Skeleton, StatusBadge, TimeAgo } from "../components/parts.jsx";
import { ShareBar, ShareLegend } from "../components/ShareBar.jsx";
import { ValidationList } from "../components/ValidationList.jsx";
import { VotePanel } from "../components/VotePanel.jsx";
import { useApp } from "../hooks/appContext.js";
import { useLiveClaim } from "../hooks/useLiveClaim.js";
import { useLoaded } from "../hooks/useLoaded.js";

const REFRESH_MS = 700;

export function ClaimPage({ id }) {
  const { api } = useApp();
  const { data, error, reload } = useLoaded(`claim:${id}`, () => api.claim(id));
  if (data) return <Claim loaded={data} />;
  if (!error) return <Skeleton rows={4} label="Loading the claim" />;
  return error.status === 404 || error.status === 422 ? <NoSuchClaim /> : <ErrorState error={error} retry={reload} />;
}

function NoSuchClaim() {
  return (
    <section className="narrow">
      <PageTitle>No such claim</PageTitle>
      <EmptyState title="There is no claim at this address" action={<Link to="/" className="button button-primary">See the claims</Link>} />
    </section>
  );
}

function Claim({ loaded }) {
  const { api } = useApp();
  const claim = useLiveClaim(loaded);
  const validations = useLoaded(`validations:${claim.id}`, () => api.validations(claim.id));
  useRefreshed(claim.tally.total, validations.reload);
  return (
    <article className="claim" data-status={claim.status} data-claim={claim.id}>
      <p className="crumbs">
        <Link to="/">Claims</Link>
      </p>
      <PageTitle aside={<StatusBadge status={claim.status} />}>{claim.title}</PageTitle>
      <p className="meta">
        <Avatar id={claim.owner_id} name={claim.owner_name} />
        <Link to={`/users/${claim.owner_id}`}>{claim.owner_name}</Link>
        <TimeAgo when={claim.created_at} />
      </p>
      {claim.body && <p className="claim-body">{claim.body}</p>}
      <Evidence urls={claim.evidence_urls} />
      <ConsensusMoment claim={claim} />
      <section className="panel tally" aria-label="How it stands">
        <div className="tally-head">
          <h2>How it stands</h2>
          <QuorumCount claim={claim} />
        </div>
        <ShareBar percentages={claim.percentages} total={claim.tally.total} large />
        <ShareLegend percentages={claim.percentages} total={claim.tally.total} />
      </section>
      <VotePanel claim={claim} validations={validations.data?.items ?? null} voted={validations.reload} />
      <ValidationList claim={claim} validations={validations} />
    </article>
  );
}

/** Load again when a number moved, but not for each of a burst. */
function useRefreshed(number, reload) {
  const [settled, setSettled] = useState(number);
  const first = useRef(true);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(number), REFRESH_MS);
    return () => clearTimeout(timer);
  }, [number]);
  useEffect(() => {
    if (!first.current) reload();
    first.current = false;
  }, [settled, reload]);
}

function Evidence({ urls }) {
  if (urls.length === 0) return null;
  return (
    <ul className="evidence" aria-label="Evidence">
      {urls.map((url) => (
        <li key={url}>
          <LinkIcon />
          <a href={url} target="_blank" rel="noopener noreferrer nofollow ugc">
            {url.replace(/^https?:\/\/(www\.)?/, "")}
          </a>
        </li>
      ))}
    </ul>
  );
}
