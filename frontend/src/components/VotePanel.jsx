/** Vouch, dispute, or unsure: once, and never on one's own claim. */
import { useRef, useState } from "react";
import { useApp } from "../hooks/appContext.js";
import { useSession } from "../hooks/useStore.js";
import { newIdempotencyKey } from "../services/api.js";
import { ACTION_LABELS, YOUR_VERBS } from "../wording.js";
import { ACTION_ICONS } from "./icons.jsx";
import { Link } from "./parts.jsx";

const MAX_COMMENT = 1_000;
/** Refusals that say that the vote is not ours to give any more. */
const FINAL = { already_validated: "You have answered this claim already.", claim_settled: "This claim was settled a moment ago." };

export function VotePanel({ claim, validations, voted }) {
  const session = useSession();
  const [mine, setMine] = useState(null);
  const own = validations?.find((row) => row.user_id === session?.userId);
  const action = own?.action ?? mine;
  if (action) {
    const ActionIcon = ACTION_ICONS[action];
    return (
      <p className={`vote-done vote-done-${action}`} data-testid="voted">
        <ActionIcon /> {YOUR_VERBS[action]}
      </p>
    );
  }
  if (claim.status !== "open") return null;
  if (!session) {
    return (
      <p className="vote-hint">
        <Link to={`/signin?next=/claims/${claim.id}`}>Sign in</Link> to vouch or dispute, and to see it move live.
      </p>
    );
  }
  if (claim.owner_id === session.userId) return <p className="vote-hint">This is your claim. Others decide whether it holds.</p>;
  return <VoteForm claim={claim} done={(given) => { setMine(given); voted(); }} />;
}

function VoteForm({ claim, done }) {
  const { api, liveClaims } = useApp();
  const [comment, setComment] = useState("");
  const [busy, setBusy] = useState(null);
  const [error, setError] = useState(null);
  // One key for this form: a repeated click or a lost answer is still one vote.
  const key = useRef(newIdempotencyKey());

  async function vote(action) {
    setBusy(action);
    setError(null);
    try {
      const { claim: after } = await api.validate(claim.id, { action, comment: comment.trim() || null }, `${key.current}-${action}`);
      liveClaims.take(after);
      done(action);
    } catch (problem) {
      setError(FINAL[problem.code] ?? problem.message);
      setBusy(null);
    }
  }

  return (
    <section className="panel vote" aria-labelledby="vote-title">
      <h2 id="vote-title">What do you say?</h2>
      <div className="vote-buttons">
        {Object.entries(ACTION_LABELS).map(([action, label]) => {
          const ActionIcon = ACTION_ICONS[action];
          return (
            <button key={action} type="button" className={`vote-button vote-${action}`} disabled={busy !== null} aria-busy={busy === action} onClick={() => void vote(action)}>
              <ActionIcon />
              {label}
            </button>
          );
        })}
      </div>
      <label className="field">
        <span>
          Comment <i>optional</i>
        </span>
        <textarea rows={2} maxLength={MAX_COMMENT} value={comment} onChange={(event) => setComment(event.target.value)} />
      </label>
      <p className="form-error" role="alert">
        {error}
      </p>
    </section>
  );
}
