import { useEffect } from "react";
import { ClaimCard } from "../components/ClaimCard.jsx";
import { BadgeIcon } from "../components/icons.jsx";
import { Avatar, DateOf, EmptyState, ErrorState, Link, LoadMore, PageTitle, Skeleton } from "../components/parts.jsx";
import { TrustRing } from "../components/Trust.jsx";
import { useApp } from "../hooks/appContext.js";
import { useLoaded } from "../hooks/useLoaded.js";
import { usePages } from "../hooks/usePages.js";
import { useSession } from "../hooks/useStore.js";

export function UserPage({ id }) {
  const { api, service } = useApp();
  const session = useSession();
  const { data: user, error, reload } = useLoaded(`user:${id}`, () => api.user(id));
  const mine = session?.userId === id;
  useEffect(() => {
    if (!mine) return undefined;
    const stops = [service.on("badge_earned", reload), service.on("trust_score_update", reload)];
    return () => stops.forEach((stop) => stop());
  }, [mine, service, reload]);
  if (!user) {
    if (!error) return <Skeleton rows={4} label="Loading the profile" />;
    return error.status === 404 || error.status === 422 ? <NoSuchUser /> : <ErrorState error={error} retry={reload} />;
  }
  return (
    <div className="wide">
      <header className="profile">
        <Avatar id={user.id} name={user.display_name} large />
        <div>
          <PageTitle>{user.display_name}</PageTitle>
          <p className="meta">
            <span>@{user.username}</span>
            <span>
              since <DateOf when={user.created_at} />
            </span>
          </p>
        </div>
        <TrustRing score={user.trust_score} />
      </header>
      <Numbers user={user} />
      <Badges earned={user.badges} />
      <ClaimsOf id={id} mine={mine} />
    </div>
  );
}

function NoSuchUser() {
  return (
    <section className="narrow">
      <PageTitle>No such user</PageTitle>
      <EmptyState title="There is nobody at this address" action={<Link to="/leaderboard" className="button button-primary">See who is here</Link>} />
    </section>
  );
}

function Numbers({ user }) {
  const numbers = [
    ["Validations", user.validations],
    ["Consensuses", user.consensus_count],
    ["Accurate in a row", user.accurate_streak],
    ["Claims verified", user.claims_verified],
  ];
  return (
    <dl className="numbers">
      {numbers.map(([name, value]) => (
        <div key={name}>
          <dd>{value.toLocaleString("en")}</dd>
          <dt>{name}</dt>
        </div>
      ))}
    </dl>
  );
}

function Badges({ earned }) {
  const { api } = useApp();
  const { data } = useLoaded("badges", () => api.badges());
  if (!data) return null;
  const when = new Map(earned.map((badge) => [badge.badge_id, badge.earned_at]));
  return (
    <section aria-labelledby="badges-title">
      <h2 id="badges-title" className="section-title">
        Badges
      </h2>
      <ul className="badges">
        {data.items.map((badge) => (
          <li key={badge.badge_id} className={when.has(badge.badge_id) ? "badge badge-earned" : "badge"}>
            <BadgeIcon />
            <div>
              <p className="badge-name">{badge.badge_name}</p>
              <p className="badge-text">{badge.description}</p>
              <p className="badge-when">{when.has(badge.badge_id) ? <DateOf when={when.get(badge.badge_id)} /> : "Not yet"}</p>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}

function ClaimsOf({ id, mine }) {
  const { api } = useApp();
  const claims = usePages(`claims-of:${id}`, (cursor) => api.claims({ owner_id: id, cursor, limit: 10 }), (claim) => claim.id);
  if (claims.items === null) return claims.error ? <ErrorState error={claims.error} retry={claims.reload} /> : <Skeleton rows={2} label="Loading claims" />;
  return (
    <section aria-labelledby="claims-of-title">
      <h2 id="claims-of-title" className="section-title">
        Claims
      </h2>
      {claims.items.length === 0 ? (
        <EmptyState title="No claims yet" action={mine && <Link to="/claims/new" className="button">Post one</Link>} />
      ) : (
        <div className="claim-list">
          {claims.items.map((claim) => (
            <ClaimCard key={claim.id} claim={claim} as="h3" />
          ))}
        </div>
      )}
      <LoadMore more={claims.more} />
    </section>
  );
}
