import { Avatar, EmptyState, ErrorState, Link, LoadMore, PageTitle, Skeleton } from "../components/parts.jsx";
import { TrustMeter } from "../components/Trust.jsx";
import { useApp } from "../hooks/appContext.js";
import { usePages } from "../hooks/usePages.js";
import { useSession } from "../hooks/useStore.js";

export function LeaderboardPage() {
  const { api } = useApp();
  const session = useSession();
  const ranks = usePages("leaderboard", (cursor) => api.leaderboard(cursor), (item) => item.user.id);
  return (
    <section aria-labelledby="page-title" className="wide">
      <PageTitle>Leaderboard</PageTitle>
      <p className="meta">By trust score, then by validations.</p>
      {ranks.items === null ? (
        ranks.error ? <ErrorState error={ranks.error} retry={ranks.reload} /> : <Skeleton rows={8} label="Loading the leaderboard" />
      ) : ranks.items.length === 0 ? (
        <EmptyState title="Nobody yet" />
      ) : (
        <Ranks items={ranks.items} me={session?.userId} />
      )}
      <LoadMore more={ranks.more}>More</LoadMore>
    </section>
  );
}

function Ranks({ items, me }) {
  return (
    <table className="ranks">
      <thead>
        <tr>
          <th scope="col" className="number">
            Rank
          </th>
          <th scope="col">User</th>
          <th scope="col">Trust</th>
          <th scope="col" className="number">
            Validations
          </th>
          <th scope="col" className="number rank-extra">
            Consensuses
          </th>
          <th scope="col" className="number rank-extra">
            Streak
          </th>
          <th scope="col" className="number rank-extra">
            Badges
          </th>
        </tr>
      </thead>
      <tbody>
        {items.map(({ rank, user }) => (
          <tr key={user.id} className={user.id === me ? "rank-me" : undefined}>
            <td className="number rank">{rank}</td>
            <th scope="row">
              <span className="rank-user">
                <Avatar id={user.id} name={user.display_name} />
                <Link to={`/users/${user.id}`}>{user.display_name}</Link>
                {user.id === me && <span className="you">you</span>}
              </span>
            </th>
            <td>
              <TrustMeter score={user.trust_score} />
            </td>
            <td className="number">{user.validations.toLocaleString("en")}</td>
            <td className="number rank-extra">{user.consensus_count.toLocaleString("en")}</td>
            <td className="number rank-extra">{user.accurate_streak}</td>
            <td className="number rank-extra">{user.badges.length}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
