/** The moment in which a claim is settled, for everybody who looks at it; later, the fact. */
import { useRef } from "react";
import { ACTION_LABELS, STATUS_LABELS, percentLabel } from "../wording.js";
import { STATUS_ICONS } from "./icons.jsx";
import { TimeAgo } from "./parts.jsx";

const SENTENCES = {
  verified: "The community vouches for it.",
  refuted: "The community disputes it.",
  inconclusive: "The community cannot tell.",
};

export function ConsensusMoment({ claim }) {
  const first = useRef(claim.status);
  const settled = claim.status !== "open";
  const justNow = settled && first.current === "open";
  const StatusIcon = STATUS_ICONS[claim.status];
  return (
    <div role="status" className="consensus-place">
      {settled && (
        <div className={`consensus consensus-${claim.status}${justNow ? " consensus-now" : ""}`} data-testid="consensus">
          <span className="consensus-stamp">
            <StatusIcon />
          </span>
          <div>
            <p className="consensus-title">
              {justNow && "Consensus: "}
              {STATUS_LABELS[claim.status]}
            </p>
            <p>
              {SENTENCES[claim.status]}
              {claim.consensus && ` ${ACTION_LABELS[claim.consensus.action]} ${percentLabel(claim.consensus.percentage)}.`}
              {claim.settled_at && (
                <>
                  {" "}
                  <TimeAgo when={claim.settled_at} />
                </>
              )}
            </p>
          </div>
        </div>
      )}
    </div>
  );
}
