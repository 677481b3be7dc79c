/** Light or dark as the user chose, or as the system has it. `public/theme.js` applies it before the first paint. */
import { browserStorage } from "./services/storedSession.js";

const KEY = "vouchstorm.theme";

/** @returns {"system" | "light" | "dark"} */
export function chosenTheme() {
  const { theme } = document.documentElement.dataset;
  return theme === "light" || theme === "dark" ? theme : "system";
}

/** @param {string} theme */
export function chooseTheme(theme) {
  const { dataset } = document.documentElement;
  if (theme === "system") delete dataset.theme;
  else dataset.theme = theme;
  try {
    browserStorage()?.setItem(KEY, theme);
  } catch {
    // The choice then lasts as long as the page.
  }
}
