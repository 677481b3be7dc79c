/**
 * The signed-in user as kept in localStorage: `vouchstorm.token` and `vouchstorm.user` (JSON).
 *
 * Both are there or nobody is signed in; anything unreadable counts as nobody.
 */
export const TOKEN_KEY = "vouchstorm.token";
export const USER_KEY = "vouchstorm.user";

/**
 * @param {Storage | null} storage
 * @returns {{ userId: string, token: string, user: any } | null}
 */
export function storedSession(storage) {
  try {
    const token = storage?.getItem(TOKEN_KEY);
    const user = JSON.parse(storage?.getItem(USER_KEY) ?? "null");
    return token && typeof user?.id === "string" ? { userId: user.id, token, user } : null;
  } catch {
    return null;
  }
}

/** @param {Storage | null} storage @param {{ token: string, user: any } | null} session null signs out */
export function storeSession(storage, session) {
  try {
    if (session) {
      storage?.setItem(USER_KEY, JSON.stringify(session.user));
      storage?.setItem(TOKEN_KEY, session.token);
    } else {
      storage?.removeItem(TOKEN_KEY);
      storage?.removeItem(USER_KEY);
    }
  } catch {
    // Storage is full or forbidden: the session then lives as long as this page.
  }
}

/** Reading localStorage throws where site data are blocked. @returns {Storage | null} */
export function browserStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
