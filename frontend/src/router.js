/** Addresses of the pages, below `/app`. Pure matching, and one store that follows the browser's history. */
import { Store } from "./state/store.js";

export const BASE = "/app";

/** Pattern per page; `:id` takes one segment. */
const ROUTES = {
  "/": "claims",
  "/claims": "claims",
  "/claims/new": "newClaim",
  "/claims/:id": "claim",
  "/notifications": "notifications",
  "/leaderboard": "leaderboard",
  "/users/:id": "user",
  "/signin": "signIn",
  "/register": "register",
};

/**
 * The page of a path.
 *
 * @param {string} path without the base
 * @returns {{ page: string, id: string | null }}
 */
export function matchRoute(path) {
  const segments = path.split("/").filter(Boolean);
  for (const [pattern, page] of Object.entries(ROUTES)) {
    const wanted = pattern.split("/").filter(Boolean);
    const fits = wanted.length === segments.length && wanted.every((part, at) => part === ":id" || part === segments[at]);
    if (fits) return { page, id: wanted.includes(":id") ? decodeSegment(segments[wanted.indexOf(":id")]) : null };
  }
  return { page: "notFound", id: null };
}

/** @param {string} segment */
function decodeSegment(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** A path of this application that may be followed from data; anything else leads home. @param {string | null} path */
export function safePath(path) {
  return path && /^\/(?![/\\])/.test(path) ? path : "/";
}

export class Router {
  /** @param {Window} [page] */
  constructor(page = window) {
    this.page = page;
    /** @type {Store<{ path: string, query: string }>} */
    this.location = new Store(this.#read());
    page.addEventListener("popstate", () => this.location.set(this.#read()));
  }

  /** The address to put into a link. @param {string} path @returns {string} */
  href(path) {
    return BASE + path;
  }

  /** @param {string} path may carry a query @param {{ replace?: boolean }} [how] */
  go(path, { replace = false } = {}) {
    const url = this.href(path);
    if (replace) this.page.history.replaceState(null, "", url);
    else this.page.history.pushState(null, "", url);
    this.page.scrollTo(0, 0);
    this.location.set(this.#read());
  }

  #read() {
    const { pathname, search } = this.page.location;
    const path = pathname.startsWith(BASE) ? pathname.slice(BASE.length) : pathname;
    return { path: path || "/", query: search };
  }
}
