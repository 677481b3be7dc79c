import { EmptyState, Link, PageTitle } from "../components/parts.jsx";

export function NotFoundPage() {
  return (
    <section className="narrow">
      <PageTitle>Nothing here</PageTitle>
      <EmptyState title="This address leads nowhere" action={<Link to="/" className="button button-primary">See the claims</Link>}>
        It may have been mistyped, or what it named is gone.
      </EmptyState>
    </section>
  );
}
