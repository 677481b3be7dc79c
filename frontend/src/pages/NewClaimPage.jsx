import { useRef } from "react";
import { Field, Submit, useForm } from "../components/Form.jsx";
import { PageTitle } from "../components/parts.jsx";
import { useApp } from "../hooks/appContext.js";
import { newIdempotencyKey } from "../services/api.js";

const MAX_EVIDENCE = 10;

export function NewClaimPage() {
  const { api, router } = useApp();
  const keys = useRef(new Map());
  const form = useForm({ title: "", body: "", evidence_urls: "", quorum: "" }, async (values) => {
    const body = bodyOf(values);
    const text = JSON.stringify(body);
    // The same text sent again is the same claim; another text is another one.
    if (!keys.current.has(text)) keys.current.set(text, newIdempotencyKey());
    const claim = await api.postClaim(body, keys.current.get(text));
    router.go(`/claims/${claim.id}`, { replace: true });
  });
  return (
    <section className="narrow">
      <PageTitle>Post a claim</PageTitle>
      <form className="panel" onSubmit={form.onSubmit}>
        <Field label="Claim" hint="One sentence that is either true or not." minLength={3} maxLength={200} {...form.field("title")} />
        <Field label="More about it" optional as="textarea" rows={5} maxLength={10_000} {...form.field("body")} />
        <Field label="Evidence" optional as="textarea" rows={2} hint={`Web addresses, one a line, at most ${MAX_EVIDENCE}.`} {...form.field("evidence_urls")} />
        <Field label="Validations needed" optional type="number" min={1} max={100_000} inputMode="numeric" hint="At least so many before it can be settled. Usually 3." {...form.field("quorum")} />
        <p className="form-error" role="alert">
          {form.error}
        </p>
        <Submit busy={form.busy}>Post it</Submit>
      </form>
    </section>
  );
}

/** @param {Record<string, string>} values */
function bodyOf({ title, body, evidence_urls: evidence, quorum }) {
  return {
    title: title.trim(),
    body: body.trim(),
    evidence_urls: evidence.split(/\s+/).filter(Boolean),
    ...(quorum ? { quorum: Number(quorum) } : {}),
  };
}
