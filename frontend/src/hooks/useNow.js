import { useSyncExternalStore } from "react";

/** One clock for all relative times of the page: it ticks while somebody looks at it. */
function newClock(everyMs) {
  const subscribers = new Set();
  let nowMs = Date.now();
  let timer;
  const tick = () => {
    nowMs = Date.now();
    for (const subscriber of subscribers) subscriber();
  };
  return {
    subscribe(subscriber) {
      if (subscribers.size === 0) {
        nowMs = Date.now();
        timer = setInterval(tick, everyMs);
      }
      subscribers.add(subscriber);
      return () => {
        subscribers.delete(subscriber);
        if (subscribers.size === 0) clearInterval(timer);
      };
    },
    get: () => nowMs,
  };
}

const slow = newClock(20_000);
const fast = newClock(1_000);

/** Epoch ms, fresh every 20 s. */
export function useNow() {
  return useSyncExternalStore(slow.subscribe, slow.get);
}

/** Epoch ms, fresh every second: for count-downs. */
export function useSecond() {
  return useSyncExternalStore(fast.subscribe, fast.get);
}
