// @vitest-environment happy-dom
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NotificationBell } from "../src/components/NotificationBell.jsx";
import { Store } from "../src/state/store.js";
import { notification } from "./fakeSocket.js";

globalThis.IS_REACT_ACT_ENVIRONMENT = true;

let root;
let store;
let alerts;
let opened;

const bell = () => document.querySelector(".bell-button");
const badge = () => document.querySelector("[data-testid=unread]");
const notes = () => [...document.querySelectorAll(".bell-list .note")];
const click = (element) => act(() => element.click());
const press = (element, key) => act(() => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })));

function show(state = {}, permission = "granted") {
  store = {
    state: new Store({ status: "ready", unread: 0, exact: true, items: [], error: null, ...state }),
    markRead: vi.fn(async () => {}),
    markAllRead: vi.fn(async () => {}),
    compare: vi.fn(),
  };
  alerts = { permission: new Store(permission), ask: vi.fn(async () => {}) };
  opened = [];
  act(() => root.render(<NotificationBell store={store} alerts={alerts} open={(path) => opened.push(path)} href={(path) => `/app${path}`} />));
}

beforeEach(() => {
  const place = document.createElement("div");
  document.body.replaceChildren(place);
  root = createRoot(place);
});
afterEach(() => act(() => root.unmount()));

describe("NotificationBell", () => {
  it.each([
    [0, null, "Notifications"],
    [1, "1", "Notifications, 1 unread"],
    [99, "99", "Notifications, 99 unread"],
    [100, "99+", "Notifications, 100 unread"],
  ])("with %i unread", (unread, label, name) => {
    show({ unread });
    expect(badge()?.textContent ?? null).toBe(label);
    expect(bell().querySelector(".visually-hidden").textContent).toBe(name);
  });

  it("shows the five newest", () => {
    show({ unread: 9, items: [9, 8, 7, 6, 5, 4, 3].map((seq) => notification(seq)) });
    click(bell());
    expect(notes().map((note) => note.dataset.seq)).toEqual(["9", "8", "7", "6", "5"]);
  });

  it("marks by priority and by whether it was read", () => {
    const items = ["urgent", "high", "medium", "low"].map((priority, index) => notification(9 - index, { priority, read: index > 1 }));
    show({ items });
    click(bell());
    expect(notes().map((note) => note.className)).toEqual([
      "note note-urgent note-unread",
      "note note-high note-unread",
      "note note-medium",
      "note note-low",
    ]);
    expect(document.querySelectorAll(".note-dot")).toHaveLength(2);
  });

  it("has an icon for each type", () => {
    const types = ["validation_received", "consensus_reached", "badge_earned", "trust_score_updated", "system"];
    show({ items: types.map((type, index) => notification(9 - index, { type })) });
    click(bell());
    const drawings = notes().map((note) => note.querySelector("svg").innerHTML);
    expect(new Set(drawings).size).toBe(5);
  });

  it("a click marks it read, closes, and leads on", () => {
    show({ unread: 1, items: [notification(1, { action_url: "/claims/c1" })] });
    click(bell());
    expect(notes()[0].getAttribute("href")).toBe("/app/claims/c1");
    click(notes()[0]);
    expect(store.markRead).toHaveBeenCalledWith("n1");
    expect(opened).toEqual(["/claims/c1"]);
    expect(document.querySelector(".bell-panel")).toBeNull();
  });

  it("one without an address is a button that only marks it read", () => {
    show({ unread: 1, items: [notification(1)] });
    click(bell());
    expect(notes()[0].tagName).toBe("BUTTON");
    click(notes()[0]);
    expect([store.markRead.mock.calls.length, opened]).toEqual([1, []]);
  });

  it("marks all read, and offers it only when there is something", () => {
    show({ unread: 2, items: [notification(2), notification(1)] });
    click(bell());
    const markAll = () => [...document.querySelectorAll("button")].find((button) => button.textContent === "Mark all read");
    click(markAll());
    expect(store.markAllRead).toHaveBeenCalledTimes(1);
    act(() => store.state.patch({ unread: 0 }));
    expect(markAll()).toBeUndefined();
  });

  it("opens as a dialog that takes the focus; Escape closes it and gives the focus back", () => {
    show({ items: [notification(1)] });
    click(bell());
    const panel = document.querySelector("[role=dialog]");
    expect([bell().getAttribute("aria-expanded"), document.activeElement]).toEqual(["true", panel]);
    press(panel, "Escape");
    expect([bell().getAttribute("aria-expanded"), document.activeElement]).toEqual(["false", bell()]);
  });

  it("arrow keys, Home and End walk through the items", () => {
    show({ items: [3, 2, 1].map((seq) => notification(seq)) });
    click(bell());
    const panel = document.querySelector("[role=dialog]");
    const walk = ["ArrowDown", "ArrowDown", "ArrowUp", "End", "ArrowDown", "Home"].map((key) => {
      press(panel, key);
      return document.activeElement.dataset.seq;
    });
    expect(walk).toEqual(["3", "2", "3", "1", "1", "3"]);
  });

  it("a click elsewhere closes it", () => {
    show({ items: [notification(1)] });
    click(bell());
    act(() => document.body.dispatchEvent(new Event("pointerdown", { bubbles: true })));
    expect(document.querySelector(".bell-panel")).toBeNull();
  });

  it("asks for the browser's alerts only when clicked, and only while undecided", () => {
    show({}, "default");
    click(bell());
    expect(alerts.ask).not.toHaveBeenCalled();
    click(document.querySelector(".bell-offer"));
    expect(alerts.ask).toHaveBeenCalledTimes(1);
    act(() => alerts.permission.set("denied"));
    expect(document.querySelector(".bell-offer")).toBeNull();
  });

  it("says what is wrong and offers another try", () => {
    show({ status: "failed", error: "The server cannot be reached." });
    click(bell());
    expect(document.querySelector("[role=alert]").textContent).toBe("The server cannot be reached.");
    click(document.querySelector(".bell-empty button"));
    expect(store.compare).toHaveBeenCalledTimes(1);
  });

  it("is kind when there is nothing", () => {
    show();
    click(bell());
    expect(document.querySelector(".bell-empty").textContent).toContain("Nothing yet.");
  });

  it("reads a burst out as one sentence, and not what was there before", async () => {
    vi.useFakeTimers();
    show({ unread: 3 });
    await act(() => vi.advanceTimersByTimeAsync(1_000));
    const status = () => document.querySelector("[role=status]").textContent;
    expect(status()).toBe("");
    for (let unread = 4; unread <= 53; unread += 1) act(() => store.state.patch({ unread }));
    expect(status()).toBe("");
    await act(() => vi.advanceTimersByTimeAsync(1_000));
    expect(status()).toBe("53 unread notifications");
    vi.useRealTimers();
  });

  it("says the same number again when it was lower meanwhile", async () => {
    vi.useFakeTimers();
    show({ unread: 0 });
    const said = [];
    for (const unread of [0, 1, 0, 1]) {
      act(() => store.state.patch({ unread }));
      await act(() => vi.advanceTimersByTimeAsync(1_000));
      said.push(document.querySelector("[role=status]").textContent);
    }
    expect(said).toEqual(["", "1 unread notification", "", "1 unread notification"]);
    vi.useRealTimers();
  });
});
