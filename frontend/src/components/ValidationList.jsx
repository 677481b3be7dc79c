/** Who said what about a claim, newest first. */
import { useState } from "react";
import { useApp } from "../hooks/appContext.js";
import { ACTION_LABELS } from "../wording.js";
import { ACTION_ICONS } from "./icons.jsx";
import { Avatar, ErrorState, Link, LoadMore, Skeleton, TimeAgo } from "./parts.jsx";

export function ValidationList({ claim, validations }) {
  const { data, error, reload } = validations;
  const older = useFurther(claim.id, data);
  if (!data) return error ? <ErrorState error={error} retry={reload} /> : <Skeleton rows={2} label="Loading validations" />;
  if (data.items.length === 0) return null;
  return (
    <section aria-labelledby="validations-title">
      <h2 id="validations-title" className="section-title">
        Validations
      </h2>
      <ul className="validations">
        {older.items.toReversed().map((row) => (
          <li key={row.id}>
            <Avatar id={row.user_id} name={row.validator_name} />
            <div>
              <p className="meta">
                <Link to={`/users/${row.user_id}`}>{row.validator_name}</Link>
                <ActionTag action={row.action} />
                <TimeAgo when={row.created_at} />
              </p>
              {row.comment && <p className="validation-comment">{row.comment}</p>}
            </div>
          </li>
        ))}
      </ul>
      <LoadMore more={older.more}>Show later ones</LoadMore>
    </section>
  );
}

function ActionTag({ action }) {
  const ActionIcon = ACTION_ICONS[action];
  return (
    <span className={`action-tag action-${action}`}>
      <ActionIcon />
      {ACTION_LABELS[action]}
    </span>
  );
}

/** The pages after the first one: the server lists in the order of acceptance. */
function useFurther(claimId, first) {
  const { api } = useApp();
  const [tail, setTail] = useState({ items: [], cursor: null, started: false, busy: false, error: null });
  const cursor = tail.started ? tail.cursor : (first?.next_cursor ?? null);
  async function load() {
    setTail((before) => ({ ...before, busy: true, error: null }));
    try {
      const page = await api.validations(claimId, cursor);
      setTail((before) => ({ items: [...before.items, ...page.items], cursor: page.next_cursor, started: true, busy: false, error: null }));
    } catch (error) {
      setTail((before) => ({ ...before, busy: false, error }));
    }
  }
  const seen = new Set();
  const items = [...(first?.items ?? []), ...tail.items].filter((row) => !seen.has(row.id) && seen.add(row.id));
  return { items, more: { available: cursor !== null, busy: tail.busy, error: tail.error, load } };
}
