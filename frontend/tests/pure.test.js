import { describe, expect, it } from "vitest";
import { OrderedInbox } from "../src/services/orderedInbox.js";
import { QUICK_ATTEMPTS, drainDelayMs, isQuick, retryDelayMs } from "../src/services/reconnectPolicy.js";
import { splitSocketUrl } from "../src/services/socketUrl.js";
import { browserStorage, storeSession, storedSession } from "../src/services/storedSession.js";
import { typedEventOf } from "../src/services/typedEvents.js";
import { fakeStorage, notification } from "./fakeSocket.js";

const PAGE = "https://app.example/app/claims";

describe("splitSocketUrl", () => {
  it.each([
    ["http://host:8000/ws", "http://host:8000", "/ws/socket.io"],
    ["http://host:8000/ws/", "http://host:8000", "/ws/socket.io"],
    ["http://host:8000", "http://host:8000", "/ws/socket.io"],
    ["http://host:8000/", "http://host:8000", "/ws/socket.io"],
    ["ws://host:8000/ws", "http://host:8000", "/ws/socket.io"],
    ["wss://host/ws", "https://host", "/ws/socket.io"],
    ["https://host/prefix/ws", "https://host", "/prefix/ws/socket.io"],
    ["https://host/ws/socket.io/", "https://host", "/ws/socket.io"],
    ["host:8000/ws", "https://host:8000", "/ws/socket.io"],
    ["localhost:8000", "https://localhost:8000", "/ws/socket.io"],
    ["[::1]:8000/ws", "https://[::1]:8000", "/ws/socket.io"],
    ["/ws", "https://app.example", "/ws/socket.io"],
    ["", "https://app.example", "/ws/socket.io"],
    [undefined, "https://app.example", "/ws/socket.io"],
    ["http://host/ws?token=secret#x", "http://host", "/ws/socket.io"],
  ])("%s", (url, origin, path) => {
    expect(splitSocketUrl(url, PAGE)).toEqual({ origin, path });
  });
});

describe("retryDelayMs", () => {
  it.each([
    [0, 1000, 2000],
    [1, 2000, 4000],
    [2, 2500, 5000],
    [4, 2500, 5000],
    [5, 8_000, 12_000],
    [6, 16_000, 24_000],
    [7, 24_000, 36_000],
    [500, 24_000, 36_000],
  ])("after %i failures lies between %i and %i ms", (failures, low, high) => {
    expect(retryDelayMs(failures, () => 0)).toBe(low);
    expect(retryDelayMs(failures, () => 1)).toBe(high);
  });

  it("has five quick attempts", () => {
    expect([0, 4, 5].map(isQuick)).toEqual([true, true, false]);
    expect(QUICK_ATTEMPTS).toBe(5);
  });

  it("spreads a drain upwards only", () => {
    expect([drainDelayMs(1000, () => 0), drainDelayMs(1000, () => 1)]).toEqual([1000, 1250]);
  });
});

describe("OrderedInbox", () => {
  const seqs = (list) => list.map((item) => item.seq);

  it("holds everything until it knows where it stands", () => {
    const inbox = new OrderedInbox();
    expect(inbox.offer(notification(5))).toEqual([]);
    expect(seqs(inbox.rebase(4))).toEqual([5]);
  });

  it("drops what it released before", () => {
    const inbox = new OrderedInbox();
    inbox.rebase(4);
    inbox.offer(notification(5));
    expect(inbox.offer(notification(5))).toEqual([]);
    expect(inbox.duplicates).toBe(1);
  });

  it("holds what comes behind a hole and releases in order", () => {
    const inbox = new OrderedInbox();
    inbox.rebase(0);
    expect(inbox.offer(notification(3))).toEqual([]);
    expect(inbox.offer(notification(2))).toEqual([]);
    expect(inbox.hasHole).toBe(true);
    expect(seqs(inbox.offer(notification(1)))).toEqual([1, 2, 3]);
    expect(inbox.hasHole).toBe(false);
  });

  it("forgets what it held below a new position", () => {
    const inbox = new OrderedInbox();
    inbox.rebase(0);
    inbox.offer(notification(3));
    expect(inbox.rebase(5)).toEqual([]);
    expect(inbox.hasHole).toBe(false);
  });

  it("holds a bounded number, and never refuses the one that is next", () => {
    const inbox = new OrderedInbox();
    inbox.rebase(0);
    for (let seq = 2; seq < 2000; seq += 1) inbox.offer(notification(seq));
    expect(inbox.held.size).toBe(500);
    expect(inbox.offer(notification(1))).toHaveLength(501);
  });

  it("any order of arrival with any duplicates gives each once, ascending", () => {
    let seed = 7;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    for (let round = 0; round < 50; round += 1) {
      const inbox = new OrderedInbox();
      inbox.rebase(10);
      const arrivals = Array.from({ length: 120 }, () => 11 + Math.floor(random() * 40));
      for (let seq = 11; seq <= 50; seq += 1) arrivals.splice(Math.floor(random() * arrivals.length), 0, seq);
      const released = arrivals.flatMap((seq) => seqs(inbox.offer(notification(seq))));
      expect(released).toEqual(Array.from({ length: 40 }, (_, index) => 11 + index));
    }
  });
});

describe("typedEventOf", () => {
  it("makes the typed event of a notification", () => {
    const data = { badge_id: "trusted", badge_name: "Trusted" };
    expect(typedEventOf(notification(3, { type: "badge_earned", data }))).toEqual({
      event: "badge_earned",
      data: { id: "n3", seq: 3, badge_name: "Trusted", badge_id: "trusted" },
    });
  });

  it("has none for a system note or for missing facts", () => {
    expect(typedEventOf(notification(1))).toBeNull();
    expect(typedEventOf(notification(1, { type: "badge_earned" }))).toBeNull();
  });
});

describe("storedSession", () => {
  it("reads back what was stored", () => {
    const storage = fakeStorage();
    storeSession(storage, { token: "t", user: { id: "u1" } });
    expect(storedSession(storage)).toEqual({ token: "t", userId: "u1", user: { id: "u1" } });
  });

  it.each([
    [{}],
    [{ "vouchstorm.token": "t" }],
    [{ "vouchstorm.user": '{"id":"u1"}' }],
    [{ "vouchstorm.token": "t", "vouchstorm.user": "{broken" }],
    [{ "vouchstorm.token": "t", "vouchstorm.user": "null" }],
  ])("counts %j as nobody", (entries) => {
    expect(storedSession(fakeStorage(entries))).toBeNull();
  });

  it("survives a browser that forbids storage", () => {
    const forbidden = { getItem: () => { throw new Error("denied"); }, setItem: () => { throw new Error("denied"); } };
    storeSession(forbidden, { token: "t", user: { id: "u1" } });
    expect(storedSession(forbidden)).toBeNull();
    expect(storedSession(browserStorage())).toBeNull();
  });
});
