/** A listener list. One failing listener neither stops the others nor disappears in silence. */
export class Emitter {
  constructor() {
    /** @type {Map<string, Set<(data: any, meta?: any) => void>>} */
    this.listeners = new Map();
  }

  /**
   * Call `listener` for each event of that name.
   *
   * @param {string} event
   * @param {(data: any, meta?: any) => void} listener
   * @returns {() => void} stops it again
   */
  on(event, listener) {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set());
    this.listeners.get(event)?.add(listener);
    return () => this.off(event, listener);
  }

  /**
   * Stop one listener, or all of an event.
   *
   * @param {string} event
   * @param {(data: any, meta?: any) => void} [listener]
   */
  off(event, listener) {
    if (listener) this.listeners.get(event)?.delete(listener);
    else this.listeners.delete(event);
  }

  /**
   * Call the listeners of an event, in the order in which they were added.
   *
   * @param {string} event
   * @param {any} [data]
   * @param {any} [meta]
   */
  trigger(event, data, meta) {
    for (const listener of [...(this.listeners.get(event) ?? [])]) {
      try {
        listener(data, meta);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
