/** Forms: fields with their own errors, one submission at a time, what the server said. */
import { useId, useState } from "react";

/**
 * @param {(values: Record<string, string>) => Promise<void>} submit
 * @returns state of a form whose fields are named after the server's fields
 */
export function useForm(initial, submit) {
  const [values, setValues] = useState(initial);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  return {
    values,
    busy,
    /** What is wrong as a whole; null when it is about fields only. */
    error: problem && !problem.errors?.some((item) => item.field in initial) ? problem.message : null,
    field: (name) => ({
      name,
      value: values[name],
      error: problem?.errors?.find((item) => item.field.split(".")[0] === name)?.message ?? null,
      onChange: (event) => setValues((before) => ({ ...before, [name]: event.target.value })),
    }),
    onSubmit: async (event) => {
      event.preventDefault();
      if (busy) return;
      setBusy(true);
      setProblem(null);
      try {
        await submit(values);
      } catch (error) {
        setProblem(error);
        setBusy(false);
      }
    },
  };
}

export function Field({ label, hint = null, optional = false, error, as: Control = "input", ...control }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div className="field">
      <label htmlFor={id}>
        {label} {optional && <i>optional</i>}
      </label>
      <Control id={id} aria-describedby={described || undefined} aria-invalid={error ? true : undefined} required={!optional} {...control} />
      {hint && (
        <p className="field-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p className="form-error" id={`${id}-error`} role="alert">
          {sentence(error)}
        </p>
      )}
    </div>
  );
}

/** @param {string} words the server's, as "must have at least 8 characters" */
function sentence(words) {
  return `${words[0].toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
}

export function Submit({ busy, children }) {
  return (
    <button type="submit" className="button button-primary button-wide" aria-busy={busy} disabled={busy}>
      {busy ? "One moment…" : children}
    </button>
  );
}
