/** A claim in a list: what it says, and how it stands this moment. */
import { useLiveClaim } from "../hooks/useLiveClaim.js";
import { plural } from "../wording.js";
import { Link, StatusBadge, TimeAgo } from "./parts.jsx";
import { ShareBar, ShareLegend } from "./ShareBar.jsx";

export function ClaimCard({ claim: loaded, as: Heading = "h2" }) {
  const claim = useLiveClaim(loaded);
  return (
    <article className="claim-card" data-claim={claim.id}>
      <div className="claim-card-head">
        <Heading>
          <Link to={`/claims/${claim.id}`} className="claim-link">
            {claim.title}
          </Link>
        </Heading>
        <StatusBadge status={claim.status} />
      </div>
      <p className="meta">
        <Link to={`/users/${claim.owner_id}`}>{claim.owner_name}</Link>
        <TimeAgo when={claim.created_at} />
      </p>
      <ShareBar percentages={claim.percentages} total={claim.tally.total} />
      <div className="claim-card-foot">
        <ShareLegend percentages={claim.percentages} total={claim.tally.total} />
        <QuorumCount claim={claim} />
      </div>
    </article>
  );
}

export function QuorumCount({ claim }) {
  const { total } = claim.tally;
  const missing = claim.quorum - total;
  return (
    <p className="quorum">
      <b key={total} className="count" data-testid="count">
        {total.toLocaleString("en")}
      </b>{" "}
      {claim.status === "open" && missing > 0 ? `of ${claim.quorum.toLocaleString("en")} needed` : plural(total, "validation").replace(/^\S+ /, "")}
    </p>
  );
}
