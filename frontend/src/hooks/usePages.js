import { useState } from "react";
import { useLoaded } from "./useLoaded.js";

/**
 * A list that comes in pages `{ items, next_cursor }`.
 *
 * @param {string} key names the list; another key starts afresh
 * @param {(cursor: string | null) => Promise<{ items: any[], next_cursor: string | null }>} load
 * @param {(item: any) => string} idOf
 */
export function usePages(key, load, idOf) {
  const first = useLoaded(key, () => load(null));
  const [tail, setTail] = useState({ of: null, items: [], cursor: null, busy: false, error: null });
  const mine = tail.of === first.data ? tail : { items: [], cursor: first.data?.next_cursor ?? null, busy: false, error: null };

  async function loadMore() {
    const of = first.data;
    setTail({ ...mine, of, busy: true, error: null });
    try {
      const page = await load(mine.cursor);
      setTail({ of, items: [...mine.items, ...page.items], cursor: page.next_cursor, busy: false, error: null });
    } catch (error) {
      setTail({ ...mine, of, busy: false, error });
    }
  }

  const all = first.data ? [...first.data.items, ...mine.items] : null;
  const seen = new Set();
  return {
    items: all && all.filter((item) => !seen.has(idOf(item)) && seen.add(idOf(item))),
    error: first.error,
    reload: first.reload,
    more: { available: mine.cursor !== null, busy: mine.busy, error: mine.error, load: loadMore },
  };
}
