import { useCallback, useEffect, useRef, useState } from "react";

/**
 * Something that is loaded when the component appears and again when `key` changes.
 *
 * While it is loaded again, what was there stays. Late answers to an older key are dropped.
 *
 * @template T
 * @param {string} key names what is loaded
 * @param {() => Promise<T>} load
 * @returns {{ data: T | null, error: Error & { code?: string } | null, reload: () => void }}
 */
export function useLoaded(key, load) {
  const [state, setState] = useState({ key, data: null, error: null });
  const latest = useRef({ key: "", load });
  latest.current = { key, load };
  const reload = useCallback(async () => {
    const asked = latest.current.key;
    const keep = (change) => {
      if (latest.current.key === asked) setState((before) => ({ ...(before.key === asked ? before : { data: null }), key: asked, ...change }));
    };
    try {
      keep({ data: await latest.current.load(), error: null });
    } catch (error) {
      keep({ error });
    }
  }, []);
  useEffect(() => {
    void reload();
  }, [key, reload]);
  const current = state.key === key ? state : { data: null, error: null };
  return { data: current.data, error: current.error, reload };
}
