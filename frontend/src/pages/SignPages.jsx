import { Field, Submit, useForm } from "../components/Form.jsx";
import { Logo } from "../components/icons.jsx";
import { Link, PageTitle } from "../components/parts.jsx";
import { useApp } from "../hooks/appContext.js";
import { useStore } from "../hooks/useStore.js";
import { safePath } from "../router.js";

/** Where to go on afterwards, from `?next=`. */
function useNext(given) {
  const { router } = useApp();
  const { query } = useStore(router.location);
  return safePath(given ?? new URLSearchParams(query).get("next"));
}

export function SignInPage({ next: given = null }) {
  const { api, session, router } = useApp();
  const { notice } = useStore(session.state);
  const next = useNext(given);
  const form = useForm({ username: "", password: "" }, async (values) => {
    session.signIn(await api.login(values));
    router.go(next, { replace: true });
  });
  return (
    <SignFrame title="Sign in" notice={notice ?? (given && "Sign in to see this page.")}>
      <form onSubmit={form.onSubmit}>
        <Field label="Username" autoComplete="username" autoCapitalize="none" spellCheck={false} {...form.field("username")} />
        <Field label="Password" type="password" autoComplete="current-password" {...form.field("password")} />
        <FormError>{form.error}</FormError>
        <Submit busy={form.busy}>Sign in</Submit>
      </form>
      <p className="sign-other">
        New here? <Link to={`/register?next=${encodeURIComponent(next)}`}>Make an account</Link>
      </p>
    </SignFrame>
  );
}

export function RegisterPage() {
  const { api, session, router } = useApp();
  const next = useNext(null);
  const form = useForm({ username: "", display_name: "", password: "" }, async ({ username, display_name, password }) => {
    session.signIn(await api.register({ username, password, display_name: display_name.trim() || null }));
    router.go(next, { replace: true });
  });
  return (
    <SignFrame title="Make an account" notice={null}>
      <form onSubmit={form.onSubmit}>
        <Field label="Username" hint="3 to 32 letters, digits, dots, dashes." autoComplete="username" autoCapitalize="none" spellCheck={false} maxLength={32} {...form.field("username")} />
        <Field label="Name that others see" optional autoComplete="name" maxLength={64} {...form.field("display_name")} />
        <Field label="Password" hint="At least 8 characters." type="password" autoComplete="new-password" maxLength={128} {...form.field("password")} />
        <FormError>{form.error}</FormError>
        <Submit busy={form.busy}>Register</Submit>
      </form>
      <p className="sign-other">
        Been here before? <Link to={`/signin?next=${encodeURIComponent(next)}`}>Sign in</Link>
      </p>
    </SignFrame>
  );
}

function SignFrame({ title, notice, children }) {
  return (
    <section className="sign">
      <div className="sign-brand" aria-hidden="true">
        <Logo />
        <SignArt />
        <p>
          Claims,
          <br />
          settled by people,
          <br />
          while you watch.
        </p>
      </div>
      <div className="sign-form">
        <PageTitle>{title}</PageTitle>
        {notice && (
          <p className="notice" role="status">
            {notice}
          </p>
        )}
        {children}
      </div>
    </section>
  );
}

/** Three claims on their way. */
function SignArt() {
  const bars = [
    [200, 62, 30],
    [96, 128, 40],
    [150, 40, 14],
  ];
  return (
    <svg className="sign-art" viewBox="0 0 320 96" focusable="false">
      {bars.map(([vouch, dispute, unsure], row) => (
        <g key={vouch} transform={`translate(0 ${row * 36})`}>
          <rect className="share-ground" width="320" height="18" rx="9" />
          <rect className="share-vouch" width={vouch} height="18" rx="9" />
          <rect className="share-dispute" x={vouch + 4} width={dispute} height="18" rx="9" />
          <rect className="share-unsure" x={vouch + dispute + 8} width={unsure} height="18" rx="9" />
        </g>
      ))}
    </svg>
  );
}

function FormError({ children }) {
  return (
    <p className="form-error" role="alert">
      {children}
    </p>
  );
}
