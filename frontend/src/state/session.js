/**
 * Who is signed in, the same in every tab of this browser.
 *
 * @typedef {{ token: string, userId: string, user: import("../contracts.generated.js").UserOut }} Session
 * @typedef {{ session: Session | null, notice: string | null }} SessionState notice: why it ended, for people
 */
import { TOKEN_KEY, USER_KEY, browserStorage, storeSession, storedSession } from "../services/storedSession.js";
import { Store } from "./store.js";

export class SessionStore {
  /** @param {() => Storage | null} [storage] */
  constructor(storage = browserStorage) {
    this.storage = storage;
    /** @type {Store<SessionState>} */
    this.state = new Store({ session: storedSession(storage()), notice: null });
  }

  get token() {
    return this.state.value.session?.token ?? null;
  }

  /** @param {import("../contracts.generated.js").SessionOut} answer of register or log in */
  signIn({ token, user }) {
    storeSession(this.storage(), { token, user });
    this.state.set({ session: { token, userId: user.id, user }, notice: null });
  }

  signOut() {
    this.#end(null);
  }

  /**
   * The server no longer accepts a token. Ignored for a token that was replaced meanwhile.
   *
   * @param {string | null} token @param {string} notice
   */
  expire(token, notice) {
    if (token && token === this.token) this.#end(notice);
  }

  /** What another tab did. @param {Pick<StorageEvent, "key">} event */
  changedElsewhere({ key }) {
    if (key !== null && key !== TOKEN_KEY && key !== USER_KEY) return;
    const session = storedSession(this.storage());
    if (session?.token !== this.token) this.state.set({ session, notice: null });
  }

  /** @param {string | null} notice */
  #end(notice) {
    storeSession(this.storage(), null);
    this.state.set({ session: null, notice });
  }
}
