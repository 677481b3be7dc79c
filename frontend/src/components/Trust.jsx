/** The trust score, 0 to 100, as a bar and as a ring. */

export function TrustMeter({ score }) {
  return (
    <span className="trust-meter">
      <b>{score}</b>
      <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false">
        <rect className="trust-ground" width="100" height="6" rx="3" />
        <rect className="trust-fill" width={score} height="6" rx="3" />
      </svg>
    </span>
  );
}

const RADIUS = 42;
const CIRCLE = 2 * Math.PI * RADIUS;

export function TrustRing({ score }) {
  return (
    <svg className="trust-ring" viewBox="0 0 100 100" role="img" aria-label={`Trust score ${score} of 100`}>
      <circle className="trust-ground" cx="50" cy="50" r={RADIUS} />
      <circle className="trust-fill" cx="50" cy="50" r={RADIUS} strokeDasharray={`${(score / 100) * CIRCLE} ${CIRCLE}`} transform="rotate(-90 50 50)" />
      <text x="50" y="51" className="trust-number">
        {score}
      </text>
      <text x="50" y="68" className="trust-word">
        trust
      </text>
    </svg>
  );
}
