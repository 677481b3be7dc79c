/**
 * Notifications of the browser itself: only after a click of the user, only while nobody looks at the page.
 *
 * Every tab would show its own; the shared tag makes the browser show one.
 *
 * @typedef {"unsupported" | "default" | "granted" | "denied"} Permission
 */
import { SERVER_EVENTS } from "../contracts.generated.js";
import { Store } from "./store.js";

const PAUSE_MS = 3_000;

export class DesktopAlerts {
  /**
   * @param {object} ports
   * @param {Pick<import("../services/websocketService.js").WebSocketService, "on">} ports.service
   * @param {(path: string) => void} ports.open
   * @param {any} [ports.page] the window
   */
  constructor({ service, open, page = globalThis }) {
    this.ports = { open, page };
    this.shownAt = 0;
    this.unshown = 0;
    /** @type {Store<Permission>} */
    this.permission = new Store(page.Notification ? page.Notification.permission : "unsupported");
    service.on(SERVER_EVENTS.NEW_NOTIFICATION, (data, meta) => meta?.live && this.#show(data));
  }

  /** Ask the user; browsers allow that only as the answer to a click. */
  async ask() {
    if (this.permission.value === "unsupported") return;
    this.permission.set(await this.ports.page.Notification.requestPermission());
  }

  /** @param {import("../contracts.generated.js").NewNotification} notification */
  #show({ id, title, message, action_url: path }) {
    const { page, open } = this.ports;
    if (this.permission.value !== "granted" || !page.document.hidden) return;
    const now = Date.now();
    if (now - this.shownAt < PAUSE_MS) {
      this.unshown += 1;
      return;
    }
    const more = this.unshown ? ` (and ${this.unshown} more)` : "";
    this.shownAt = now;
    this.unshown = 0;
    const shown = new page.Notification(title + more, { body: message, tag: `vouchstorm-${id}` });
    shown.onclick = () => {
      page.focus();
      open(path ?? "/notifications");
      shown.close();
    };
  }
}
