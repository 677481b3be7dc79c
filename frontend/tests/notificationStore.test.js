import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Emitter } from "../src/services/emitter.js";
import { NotificationStore } from "../src/state/notificationStore.js";
import { notification } from "./fakeSocket.js";

/** A server with one user's rows; answers when told, or at once. */
class FakeServer {
  constructor(count = 0) {
    this.rows = [];
    this.calls = [];
    this.held = null;
    this.failing = false;
    this.add(count);
  }

  add(count = 1) {
    for (let index = 0; index < count; index += 1) this.rows.push(notification(this.rows.length + 1));
    return this.rows.at(-1);
  }

  get unread() {
    return this.rows.filter((row) => !row.read).length;
  }

  async #answer(make) {
    if (this.held) await new Promise((resolve) => this.held.push(resolve));
    if (this.failing) throw new Error("The server cannot be reached.");
    return make();
  }

  notifications = ({ before_seq: before = Infinity, unread = false, limit }) => {
    this.calls.push(["notifications", before, unread]);
    return this.#answer(() => {
      const rows = this.rows.filter((row) => row.seq < before && !(unread && row.read)).reverse();
      const items = rows.slice(0, limit).map((row) => ({ ...row }));
      return { items, last_seq: this.rows.length, unread_count: this.unread, more: rows.length > limit };
    });
  };

  markRead = (id) => {
    this.calls.push(["markRead", id]);
    return this.#answer(() => {
      this.rows.find((row) => row.id === id).read = true;
      return { id, unread_count: this.unread };
    });
  };

  markAllRead = (upToSeq) => {
    this.calls.push(["markAllRead", upToSeq]);
    return this.#answer(() => {
      for (const row of this.rows) if (row.seq <= upToSeq) row.read = true;
      return { up_to_seq: upToSeq, unread_count: this.unread };
    });
  };

  hold() {
    this.held = [];
  }

  letGo() {
    const held = this.held;
    this.held = null;
    for (const resolve of held) resolve();
  }
}

let server;
let service;
let store;
let told;

const shown = () => store.state.get();
const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);
const live = () => service.trigger("new_notification", { ...server.add() }, { live: true });
const compares = () => server.calls.filter(([name, before]) => name === "notifications" && before === Infinity).length;

async function started(count = 0) {
  server = new FakeServer(count);
  service = new Emitter();
  told = [];
  store = new NotificationStore({ api: server, service, tellTabs: (message) => told.push(message), random: () => 0.5 });
  store.start();
  await settle();
  return store;
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  store.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("the number", () => {
  it("starts with what the server says", async () => {
    await started(30);
    expect(shown()).toMatchObject({ status: "ready", unread: 30, exact: true });
    expect(shown().items).toHaveLength(20);
  });

  it("counts what comes live, without asking", async () => {
    await started(3);
    await settle(1_000);
    for (let index = 0; index < 50; index += 1) live();
    expect(shown().unread).toBe(53);
    await settle(60_000);
    expect(compares()).toBe(1);
  });

  it("counts the same seq once", async () => {
    await started(3);
    await settle(1_000);
    const row = server.add();
    service.trigger("new_notification", row);
    service.trigger("new_notification", row);
    expect([shown().unread, shown().items.length]).toEqual([4, 4]);
  });

  it("does not count again what the first page already had", async () => {
    await started(0);
    store.stop();
    server.hold();
    store.start();
    const row = server.add();
    service.trigger("new_notification", row);
    server.letGo();
    await settle(2_000);
    expect(shown()).toMatchObject({ unread: 1, exact: true });
  });

  it("heals a first page that counted a row which only then came live", async () => {
    await started(0);
    store.stop();
    const row = server.add();
    const honest = server.notifications;
    server.notifications = async () => ({ items: [], last_seq: 0, unread_count: 1, more: false });
    store.start();
    await settle();
    server.notifications = honest;
    service.trigger("new_notification", row);
    expect(shown().exact).toBe(false);
    await settle(2_000);
    expect(shown()).toMatchObject({ unread: 1, exact: true });
  });

  it("is compared again on every connection", async () => {
    await started(2);
    server.add(5);
    service.trigger("authenticated", {});
    await settle();
    expect(shown()).toMatchObject({ unread: 7, exact: true });
    expect(shown().items.map((item) => item.seq)).toEqual([7, 6, 5, 4, 3, 2, 1]);
  });

  it("is compared a little later after a complete replay, and is not called exact until then", async () => {
    await started(2);
    service.trigger("authenticated", { recovered: true });
    expect(shown().exact).toBe(false);
    await settle(1_000);
    expect(compares()).toBe(1);
    await settle(1_000);
    expect([compares(), shown().exact]).toEqual([2, true]);
  });

  it("starts the list afresh when history was lost", async () => {
    await started(10);
    server.add(100);
    service.trigger("resync", { reason: "not_recovered" });
    await settle();
    expect(shown().unread).toBe(110);
    expect(shown().items.map((item) => item.seq)).toEqual(Array.from({ length: 20 }, (_, index) => 110 - index));
  });

  it("has no hole in the list when more than a page came meanwhile", async () => {
    await started(30);
    server.add(100);
    service.trigger("authenticated", { recovered: null });
    await settle();
    const seqs = shown().items.map((item) => item.seq);
    expect(seqs).toEqual(Array.from({ length: 20 }, (_, index) => 130 - index));
    expect(shown()).toMatchObject({ unread: 130, hasOlder: true });
  });

  it("keeps trying while the server is away, ever more rarely", async () => {
    await started(1);
    store.stop();
    server.failing = true;
    server.calls = [];
    store.start();
    await settle(60_000);
    expect(shown()).toMatchObject({ status: "failed", error: "The server cannot be reached." });
    expect(server.calls.length).toBeLessThan(8);
    server.failing = false;
    await settle(30_000);
    expect(shown()).toMatchObject({ status: "ready", unread: 1, error: null });
  });

  it("forgets everything at the end", async () => {
    await started(3);
    server.hold();
    store.compare();
    store.stop();
    server.letGo();
    await settle();
    expect(shown()).toMatchObject({ status: "idle", unread: 0, items: [] });
    service.trigger("new_notification", notification(4));
    expect(shown().unread).toBe(0);
  });
});

describe("reading", () => {
  it("shows at once, asks the server, tells the other tabs, compares", async () => {
    await started(3);
    const marking = store.markRead("n2");
    expect(shown().unread).toBe(2);
    expect(shown().items.find((item) => item.id === "n2").read).toBe(true);
    await marking;
    expect(told).toEqual([{ kind: "read", ids: ["n2"] }]);
    await settle(1_000);
    expect(shown()).toMatchObject({ unread: 2, exact: true });
  });

  it("marks nothing twice", async () => {
    await started(3);
    await store.markRead("n2");
    await store.markRead("n2");
    expect(server.calls.filter(([name]) => name === "markRead")).toHaveLength(1);
  });

  it("is taken back when the server cannot be reached", async () => {
    await started(3);
    server.failing = true;
    await store.markRead("n2");
    expect(shown()).toMatchObject({ unread: 3, error: "The server cannot be reached." });
    expect(shown().items.find((item) => item.id === "n2").read).toBe(false);
    server.failing = false;
    await settle(5_000);
    expect(shown()).toMatchObject({ unread: 3, exact: true, error: null });
  });

  it("is taken back without the one that was marked since", async () => {
    await started(3);
    server.hold();
    const first = store.markRead("n1");
    const { held } = server;
    server.held = null;
    await store.markRead("n2");
    server.failing = true;
    for (const resolve of held) resolve();
    await first;
    expect(shown().items.map((item) => item.read)).toEqual([false, true, false]);
    expect(shown().unread).toBe(2);
    server.failing = false;
  });

  it("says nothing of a store that was restored: its new ones are unread", async () => {
    await started(5);
    await store.markAllRead();
    server.rows = server.rows.slice(0, 2);
    service.trigger("resync", { reason: "not_recovered" });
    await settle();
    live();
    expect(shown().items[0]).toMatchObject({ seq: 3, read: false });
    expect(shown().unread).toBe(1);
    await store.markRead("n3");
    expect(server.calls.at(-1)).toEqual(["markRead", "n3"]);
  });

  it("all marks up to the newest that is shown, not beyond", async () => {
    await started(30);
    server.hold();
    const marking = store.markAllRead();
    expect(shown().unread).toBe(0);
    live();
    expect(shown().unread).toBe(1);
    server.letGo();
    await marking;
    expect(server.calls.find(([name]) => name === "markAllRead")).toEqual(["markAllRead", 30]);
    await settle(5_000);
    expect(shown()).toMatchObject({ unread: 1, exact: true });
  });

  it("elsewhere counts once, however often it is told", async () => {
    await started(3);
    server.rows[1].read = true;
    service.trigger("notification_read", { ids: ["n2"], unread_count: 2 });
    store.readElsewhere({ ids: ["n2"] });
    expect(shown().unread).toBe(2);
    await settle(2_000);
    expect(shown()).toMatchObject({ unread: 2, exact: true });
  });

  it("elsewhere of a row that is not on this page counts too", async () => {
    await started(30);
    server.rows[0].read = true;
    service.trigger("notification_read", { ids: ["n1"], unread_count: 29 });
    expect(shown().unread).toBe(29);
    await settle(2_000);
  });

  it("all elsewhere leaves what came later", async () => {
    await started(30);
    live();
    for (const row of server.rows.slice(0, 30)) row.read = true;
    service.trigger("notification_read", { up_to_seq: 30, unread_count: 1 });
    expect(shown().unread).toBe(1);
    await settle(5_000);
    expect(shown()).toMatchObject({ unread: 1, exact: true });
  });

  it("an answer that is older than a mark does not bring the old number back", async () => {
    await started(3);
    await settle(1_000);
    const stale = await server.notifications({ limit: 20 });
    const honest = server.notifications;
    let answer;
    server.notifications = () => new Promise((resolve) => (answer = resolve));
    store.compare();
    await store.markRead("n3");
    answer(stale);
    await settle();
    expect(shown()).toMatchObject({ unread: 2, exact: false });
    expect(shown().items[0].read).toBe(true);
    server.notifications = honest;
    await settle(2_000);
    expect(shown()).toMatchObject({ unread: 2, exact: true });
  });

  it("a comparison during a mark does not bring the old number back", async () => {
    await started(3);
    server.hold();
    const marking = store.markRead("n3");
    store.compare();
    server.letGo();
    await marking;
    await settle(3_000);
    expect(shown()).toMatchObject({ unread: 2, exact: true });
  });
});

describe("older pages", () => {
  it("continue without holes", async () => {
    await started(45);
    await store.loadOlder(false);
    await store.loadOlder(false);
    expect(shown().items.map((item) => item.seq)).toEqual(Array.from({ length: 45 }, (_, index) => 45 - index));
    expect(shown().hasOlder).toBe(false);
  });

  it("of unread ones skip what was read", async () => {
    await started(60);
    for (const row of server.rows) if (row.seq > 5 && row.seq <= 50) row.read = true;
    store.stop();
    store.start();
    await settle();
    expect(shown().unreadItems).toHaveLength(10);
    expect(shown().hasOlderUnread).toBe(true);
    await store.loadOlder(true);
    expect(shown().unreadItems.map((item) => item.seq).slice(10)).toEqual([5, 4, 3, 2, 1]);
    expect(shown().hasOlderUnread).toBe(false);
    expect(shown().items).toHaveLength(20);
  });

  it("say what went wrong", async () => {
    await started(45);
    server.failing = true;
    await store.loadOlder(false);
    expect(shown().error).toBe("The server cannot be reached.");
  });
});

describe("against a random history", () => {
  it("ends with the server's number and list", async () => {
    let seed = 11;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    await started(25);
    for (let step = 0; step < 300; step += 1) {
      const dice = random();
      if (dice < 0.5) live();
      else if (dice < 0.65) void store.markRead(`n${1 + Math.floor(random() * server.rows.length)}`);
      else if (dice < 0.7) void store.markAllRead();
      else if (dice < 0.85) {
        const row = server.rows[Math.floor(random() * server.rows.length)];
        if (!row.read) {
          row.read = true;
          const message = { ids: [row.id], unread_count: server.unread };
          if (random() < 0.8) service.trigger("notification_read", message);
        }
      } else service.trigger("authenticated", {});
      await settle(random() * 400);
    }
    // What a server event failed to tell is found by the next comparison.
    service.trigger("authenticated", {});
    await settle(20_000);
    expect(shown()).toMatchObject({ unread: server.unread, exact: true });
    const seqs = shown().items.map((item) => item.seq);
    expect(seqs).toEqual(seqs.map((_, index) => server.rows.length - index));
  });
});
