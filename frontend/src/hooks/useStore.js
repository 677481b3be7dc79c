import { useSyncExternalStore } from "react";
import { useApp } from "./appContext.js";

/** The value of a store, now and after each change. */
export function useStore(store) {
  return useSyncExternalStore(store.subscribe, store.get);
}

/** The signed-in user's session, or null. */
export function useSession() {
  return useStore(useApp().session.state).session;
}

/** How the connection is. */
export function useConnection() {
  const { service } = useApp();
  return useSyncExternalStore(
    (changed) => service.on("state", changed),
    () => service.getConnectionInfo(),
  );
}
