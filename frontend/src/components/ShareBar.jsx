/** The three shares of a claim as one bar. Drawn as SVG: the page's policy allows no inline styles. */
import { ACTION_LABELS, percentLabel } from "../wording.js";

const ORDER = ["vouch", "dispute", "unsure"];
const GAP = 0.6;

export function ShareBar({ percentages, total, large = false }) {
  let start = 0;
  const parts = ORDER.map((action) => {
    const part = { action, start, width: percentages[action] };
    start += percentages[action];
    return part;
  });
  const words = total === 0 ? "No validations yet" : ORDER.map((a) => `${ACTION_LABELS[a]} ${percentLabel(percentages[a])}`).join(", ");
  return (
    <svg className={`share-bar${large ? " share-bar-large" : ""}`} role="img" aria-label={words} viewBox="0 0 100 8" preserveAspectRatio="none">
      <rect className="share-ground" width="100" height="8" />
      {parts.map((part) => (
        <rect
          key={part.action}
          className={`share share-${part.action}`}
          data-share={part.action}
          data-percent={part.width}
          x={part.start}
          width={Math.max(0, part.width - (part.start + part.width < 99.9 && part.width > 0 ? GAP : 0))}
          height="8"
        />
      ))}
    </svg>
  );
}

/** The same in words, for people who read numbers. */
export function ShareLegend({ percentages, total }) {
  if (total === 0) return <p className="legend legend-none">No validations yet</p>;
  return (
    <ul className="legend">
      {ORDER.map((action) => (
        <li key={action} className={`legend-${action}`}>
          <span>{ACTION_LABELS[action]}</span> <b>{percentLabel(percentages[action])}</b>
        </li>
      ))}
    </ul>
  );
}
