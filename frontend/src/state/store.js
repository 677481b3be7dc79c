/** A value that React can subscribe to (`useSyncExternalStore`): replaced, never changed in place. */

/** @template T */
export class Store {
  /** @param {T} initial */
  constructor(initial) {
    /** @type {T} */
    this.value = initial;
    /** @type {Set<() => void>} */
    this.subscribers = new Set();
  }

  /** @returns {T} */
  get = () => this.value;

  /** @param {T} value */
  set(value) {
    if (value === this.value) return;
    this.value = value;
    for (const subscriber of [...this.subscribers]) subscriber();
  }

  /** @param {Partial<T>} change for stores that hold an object */
  patch(change) {
    this.set({ ...this.value, ...change });
  }

  /** @param {() => void} subscriber @returns {() => void} */
  subscribe = (subscriber) => {
    this.subscribers.add(subscriber);
    return () => this.subscribers.delete(subscriber);
  };
}
