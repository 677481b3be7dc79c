/** What `createApp` made, for all components. */
import { createContext, useContext } from "react";

export const AppContext = createContext(/** @type {any} */ (null));

export function useApp() {
  return useContext(AppContext);
}
