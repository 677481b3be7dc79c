import { useEffect, useLayoutEffect, useMemo } from "react";
import { useApp } from "./appContext.js";
import { useSession, useStore } from "./useStore.js";

/** A claim as it stands this moment, watched while the component is there. @param {any} claim what REST said */
export function useLiveClaim(claim) {
  const { liveClaims } = useApp();
  const userId = useSession()?.userId;
  const live = useMemo(() => liveClaims.follow(claim), [liveClaims, claim]);
  useLayoutEffect(() => liveClaims.take(claim), [liveClaims, claim]);
  useEffect(() => (userId ? liveClaims.watch(claim.id) : undefined), [liveClaims, claim.id, userId]);
  return useStore(live);
}
