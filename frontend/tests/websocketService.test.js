import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocketService } from "../src/services/websocketService.js";
import { fakeIo, fakeStorage, notification } from "./fakeSocket.js";

const SESSION = { "vouchstorm.token": "tok", "vouchstorm.user": '{"id":"u1"}' };

let net;
let service;
let log;

function newService(storage = SESSION) {
  net = fakeIo();
  service = new WebSocketService({
    io: net.io,
    random: () => 0.5,
    storage: () => fakeStorage(storage),
    base: "http://page.example/app/",
  });
  log = [];
  return service;
}

/** Signed in, connected, with the user's newest seq. */
function online(lastSeq = 0) {
  newService().autoConnect();
  net.latest().welcome(lastSeq);
  return net.latest();
}

const record = (event) => service.on(event, (data, meta) => log.push([event, data?.seq ?? data, meta?.live]));
const state = () => service.getConnectionInfo().state;
const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  service?.disconnect();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("connecting", () => {
  it("does nothing before it is asked to", () => {
    newService();
    expect([net.sockets.length, state()]).toEqual([0, "idle"]);
  });

  it("connects by itself when a token and a user are stored", () => {
    expect(newService().autoConnect()).toBe(true);
    expect(net.latest().auth).toEqual({ token: "tok", live: "watched" });
    expect(net.latest().started).toBe(true);
  });

  it("stays away when nobody is signed in", () => {
    expect(newService({}).autoConnect()).toBe(false);
    expect(net.sockets).toHaveLength(0);
  });

  it("takes a URL for a place, not for a namespace", () => {
    newService().connect("http://host:8000/ws");
    expect([net.latest().origin, net.latest().options.path]).toEqual(["http://host:8000", "/ws/socket.io"]);
  });

  it("prefers websockets, and falls back to long polling in the same attempt", () => {
    newService().autoConnect();
    expect(net.latest().options).toMatchObject({
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnection: false,
    });
  });

  it("tries polling first after a websocket that timed out without a word", async () => {
    newService().autoConnect();
    net.latest().unreachable("timeout");
    await vi.advanceTimersByTimeAsync(4_000);
    expect(net.latest().options.transports).toEqual(["polling", "websocket"]);
  });

  it("is online only after the server authenticated it", () => {
    newService().autoConnect();
    net.latest().accept();
    expect([service.isConnected(), state()]).toEqual([true, "connecting"]);
    net.latest().welcome(3);
    expect([state(), service.getConnectionInfo().lastSeq]).toEqual(["online", 3]);
  });

  it("shows transport, its upgrade, session and node", () => {
    const socket = online();
    socket.io.engine.upgrade("websocket");
    socket.says("status", { connected_users: 7, session_id: "s1", node: "node-a", v: 1 });
    expect(service.getConnectionInfo()).toMatchObject({
      transport: "websocket",
      sessionId: "s1",
      node: "node-a",
      connectedUsers: 7,
    });
  });

  it("connecting twice to the same place is one connection", () => {
    online();
    service.connect();
    expect(net.sockets).toHaveLength(1);
  });

  it("disconnect stays away", async () => {
    const socket = online();
    service.disconnect();
    await vi.advanceTimersByTimeAsync(120_000);
    expect([socket.ended, net.sockets.length, state()]).toEqual([true, 1, "idle"]);
  });

  it("gives an attempt up whose CONNECT is never answered", async () => {
    newService().autoConnect();
    await vi.advanceTimersByTimeAsync(10_500);
    expect([net.latest().ended, state()]).toEqual([true, "reconnecting"]);
  });
});

describe("reconnecting", () => {
  it("comes back after a drop, with its position", async () => {
    const socket = online(4);
    socket.says("new_notification", notification(5));
    socket.drop();
    expect(state()).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(net.sockets).toHaveLength(2);
    expect(net.latest().auth).toEqual({ token: "tok", live: "watched", last_seq: 5 });
    net.latest().welcome(5, { recovered: true });
    expect([state(), service.getConnectionInfo().reconnects]).toEqual(["online", 1]);
  });

  it("also after the server closed the connection", async () => {
    online().drop("io server disconnect");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(net.sockets).toHaveLength(2);
  });

  it("makes five quick attempts in about twenty seconds, then becomes patient", async () => {
    const first = online();
    await vi.advanceTimersByTimeAsync(10_000);
    first.drop();
    const attempts = [];
    for (let second = 1; second <= 20; second += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      if (!net.latest().ended && net.latest() !== first) {
        attempts.push(second);
        net.latest().unreachable();
      }
    }
    expect(attempts).toHaveLength(5);
    expect(state()).toBe("offline");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(net.sockets.length).toBeLessThanOrEqual(8);
  });

  it("patient mode says when it tries again, and tries", async () => {
    newService().autoConnect();
    for (let attempt = 0; attempt < 5; attempt += 1) {
      net.latest().unreachable();
      await vi.advanceTimersByTimeAsync(attempt < 4 ? 5_000 : 0);
    }
    expect(service.getConnectionInfo()).toMatchObject({
      state: "offline",
      attempt: 5,
      retryAt: Date.now() + 10_000,
      reason: "The server cannot be reached.",
    });
    await vi.advanceTimersByTimeAsync(10_000);
    expect([state(), service.getConnectionInfo().trying]).toEqual(["offline", true]);
    net.latest().welcome();
    expect(state()).toBe("online");
  });

  it("retryNow does not wait", async () => {
    newService().autoConnect();
    net.latest().unreachable();
    service.retryNow();
    expect(net.sockets).toHaveLength(2);
    service.retryNow();
    expect(net.sockets).toHaveLength(2);
  });

  it("retryNow leaves a good connection alone", () => {
    online();
    service.retryNow();
    expect(net.sockets).toHaveLength(1);
  });

  it("a server that accepts and drops at once does not get knocked at for ever", async () => {
    newService().autoConnect();
    for (let round = 0; round < 6; round += 1) {
      net.latest().welcome();
      net.latest().drop();
      await vi.advanceTimersByTimeAsync(5_000);
    }
    expect(state()).toBe("offline");
  });

  it("a connection that held clears the count", async () => {
    newService().autoConnect();
    net.latest().unreachable();
    await vi.advanceTimersByTimeAsync(5_000);
    net.latest().welcome();
    expect(service.getConnectionInfo().attempt).toBe(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(service.getConnectionInfo().attempt).toBe(0);
  });

  it("comes back when a draining server asked it to", async () => {
    const socket = online();
    await vi.advanceTimersByTimeAsync(10_000);
    socket.says("server_draining", { reconnect_after_ms: 8_000, v: 1 });
    expect(service.getConnectionInfo()).toMatchObject({ state: "reconnecting", reason: "The server is restarting." });
    expect(socket.ended).toBe(true);
    await vi.advanceTimersByTimeAsync(7_900);
    expect(net.sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2_200);
    expect(net.sockets).toHaveLength(2);
  });

  it("what an old socket still says changes nothing", async () => {
    const old = online(1);
    const handlers = old.handlers.get("new_notification");
    old.drop();
    await vi.advanceTimersByTimeAsync(5_000);
    record("new_notification");
    for (const handler of handlers) handler(notification(2));
    expect(log).toEqual([]);
  });
});

describe("credentials", () => {
  it.each(["invalid_token", "token_expired", "token_revoked"])("gives up when refused with %s", async (code) => {
    newService().autoConnect();
    record("refused");
    net.latest().refuse(code, "Sign in again.");
    await vi.advanceTimersByTimeAsync(300_000);
    expect([net.sockets.length, state()]).toEqual([1, "refused"]);
    expect(service.getConnectionInfo().reason).toBe("Sign in again.");
    expect(log).toHaveLength(1);
  });

  it("gives up when the token expires on an open connection", async () => {
    const socket = online();
    socket.says("auth_error", { code: "token_expired", message: "The token expired.", v: 1 });
    socket.drop("io server disconnect");
    await vi.advanceTimersByTimeAsync(300_000);
    expect([net.sockets.length, state()]).toEqual([1, "refused"]);
  });

  it.each(["draining", "store_unavailable", "rate_limited"])("tries again when refused with %s", async (code) => {
    newService().autoConnect();
    net.latest().refuse(code);
    expect(state()).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(net.sockets).toHaveLength(2);
  });

  it("warns before the token expires, and forgets it after a new one", async () => {
    const socket = online();
    socket.says("token_expiring", { expires_in_s: 60, v: 1 });
    expect(service.getConnectionInfo().tokenExpiresAt).toBe(Date.now() + 60_000);
    service.authenticate("u1", "new");
    expect(socket.asked("reauth")[0].data).toEqual({ token: "new" });
    socket.asked("reauth")[0].resolve({ user_id: "u1", last_seq: 0 });
    await settle();
    expect(service.getConnectionInfo().tokenExpiresAt).toBeNull();
    expect(net.sockets).toHaveLength(1);
  });

  it("a refused new token ends it", async () => {
    const socket = online();
    service.authenticate("u1", "bad");
    socket.asked("reauth")[0].resolve({ error: { code: "invalid_token", message: "No." } });
    await settle();
    expect(state()).toBe("refused");
  });

  it("an unanswered new token counts as a lost connection", async () => {
    const socket = online();
    service.authenticate("u1", "new");
    socket.asked("reauth")[0].reject(new Error("operation has timed out"));
    await settle();
    expect(state()).toBe("reconnecting");
  });

  it("another user gets another connection and another position", () => {
    online(9);
    service.authenticate("u2", "other");
    expect(net.sockets).toHaveLength(2);
    expect(net.latest().auth).toEqual({ token: "other", live: "watched" });
  });

  it("the same token again changes nothing", () => {
    online();
    service.authenticate("u1", "tok");
    expect([net.sockets.length, net.latest().requests.length]).toEqual([1, 0]);
  });

  it("an anonymous connection signs in by event", async () => {
    newService({}).connect();
    net.latest().accept();
    expect(state()).toBe("online");
    service.authenticate("u1", "tok");
    expect(net.latest().asked("authenticate")[0].data).toEqual({ token: "tok", user_id: "u1" });
    net.latest().asked("authenticate")[0].resolve({ user_id: "u1" });
    await settle();
    expect(service.isConnected()).toBe(true);
  });

  it("sign-out forgets token and position", () => {
    online(9);
    service.signOut();
    service.connect();
    expect(net.latest().auth).toEqual({ live: "watched" });
    expect(service.getConnectionInfo()).toMatchObject({ userId: null, lastSeq: null });
  });
});

describe("durable events", () => {
  it("are passed on once, in order, and told live from replayed", async () => {
    const first = online(4);
    await vi.advanceTimersByTimeAsync(10_000);
    first.drop();
    await vi.advanceTimersByTimeAsync(5_000);
    record("new_notification");
    net.latest().welcome(6, { recovered: true });
    for (const seq of [5, 6, 6, 7]) net.latest().says("new_notification", notification(seq));
    expect(log).toEqual([
      ["new_notification", 5, false],
      ["new_notification", 6, false],
      ["new_notification", 7, true],
    ]);
    expect(service.getConnectionInfo()).toMatchObject({ lastSeq: 7, duplicates: 1 });
  });

  it("a hole is closed by sync before anything behind it is passed on", async () => {
    const socket = online(1);
    record("new_notification");
    socket.says("new_notification", notification(4));
    expect(log).toEqual([]);
    expect(socket.asked("sync")[0].data).toEqual({ after_seq: 1, limit: 200 });
    socket.asked("sync")[0].resolve({ recovered: true, items: [2, 3, 4].map((s) => notification(s)), more: false, last_seq: 4 });
    await settle();
    expect(log.map((entry) => entry[1])).toEqual([2, 3, 4]);
    expect(service.getConnectionInfo().holesClosed).toBe(1);
  });

  it("sync goes on while there is more", async () => {
    const socket = online(0);
    record("new_notification");
    socket.says("new_notification", notification(5));
    socket.asked("sync")[0].resolve({ recovered: true, items: [1, 2].map((s) => notification(s)), more: true, last_seq: 5 });
    await settle();
    expect(socket.asked("sync")[1].data.after_seq).toBe(2);
    socket.asked("sync")[1].resolve({ recovered: true, items: [3, 4, 5].map((s) => notification(s)), more: false, last_seq: 5 });
    await settle();
    expect(log.map((entry) => entry[1])).toEqual([1, 2, 3, 4, 5]);
    expect(socket.asked("sync")).toHaveLength(2);
  });

  it("asks for the rest when the replay was only the first part", async () => {
    const first = online(1);
    await vi.advanceTimersByTimeAsync(10_000);
    first.drop();
    await vi.advanceTimersByTimeAsync(5_000);
    net.latest().welcome(9, { recovered: true, more: true });
    net.latest().says("new_notification", notification(2));
    await vi.advanceTimersByTimeAsync(250);
    expect(net.latest().asked("sync")[0].data.after_seq).toBe(2);
  });

  it("asks when a promised replay does not come", async () => {
    const first = online(1);
    await vi.advanceTimersByTimeAsync(10_000);
    first.drop();
    await vi.advanceTimersByTimeAsync(5_000);
    net.latest().welcome(3, { recovered: true });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(net.latest().asked("sync")).toHaveLength(1);
  });

  it("says so when the server cannot close the hole, and goes on from the newest", async () => {
    const first = online(1);
    await vi.advanceTimersByTimeAsync(10_000);
    first.drop();
    await vi.advanceTimersByTimeAsync(5_000);
    record("resync");
    record("new_notification");
    net.latest().welcome(900, { recovered: false });
    net.latest().says("new_notification", notification(901));
    expect(log.map((entry) => entry[0])).toEqual(["resync", "new_notification"]);
    expect(service.getConnectionInfo().lastSeq).toBe(901);
  });

  it("says so when sync is refused for good", async () => {
    const socket = online(1);
    record("resync");
    record("new_notification");
    socket.says("new_notification", notification(4));
    socket.asked("sync")[0].resolve({ recovered: false, items: [], more: false, last_seq: 4 });
    await settle();
    expect(log).toEqual([["resync", { reason: "not_recovered" }, undefined]]);
    expect(service.getConnectionInfo().lastSeq).toBe(4);
  });

  it("says so when sync fails three times", async () => {
    const socket = online(1);
    record("resync");
    socket.says("new_notification", notification(4));
    for (let attempt = 0; attempt < 3; attempt += 1) {
      socket.asked("sync")[attempt].reject(new Error("operation has timed out"));
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(log).toEqual([["resync", { reason: "sync_failed" }, undefined]]);
  });

  it("an answer that comes after the connection went changes nothing", async () => {
    const socket = online(1);
    record("new_notification");
    socket.says("new_notification", notification(3));
    socket.drop();
    socket.asked("sync")[0].resolve({ recovered: true, items: [2, 3].map((s) => notification(s)), more: false, last_seq: 3 });
    await settle();
    expect(log).toEqual([]);
  });

  it("a pong that is ahead makes it ask", async () => {
    const socket = online(1);
    socket.says("pong", { server_time_ms: 1, last_seq: 2, v: 1 });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(socket.asked("sync")).toHaveLength(1);
  });

  it("a typed event and its notification are one fact, told once each", () => {
    const socket = online(0);
    record("badge_earned");
    record("new_notification");
    const data = { badge_id: "trusted", badge_name: "Trusted" };
    socket.says("badge_earned", { id: "n1", seq: 1, ...data, v: 1 });
    socket.says("new_notification", notification(1, { type: "badge_earned", data }));
    socket.says("badge_earned", { id: "n1", seq: 1, ...data, v: 1 });
    expect(log.map((entry) => entry[0])).toEqual(["badge_earned", "new_notification"]);
  });

  it("a fact that came by sync is also told as a typed event", async () => {
    const socket = online(0);
    record("badge_earned");
    const data = { badge_id: "trusted", badge_name: "Trusted" };
    socket.says("new_notification", notification(2));
    const items = [notification(1, { type: "badge_earned", data }), notification(2)];
    socket.asked("sync")[0].resolve({ recovered: true, items, more: false, last_seq: 2 });
    await settle();
    expect(log).toHaveLength(1);
  });

  it("a typed event whose notification never comes is asked for", async () => {
    const socket = online(0);
    socket.says("badge_earned", { id: "n1", seq: 1, badge_id: "trusted", badge_name: "Trusted", v: 1 });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(socket.asked("sync")).toHaveLength(1);
  });
});

describe("keep-alive", () => {
  it("pings every thirty seconds and measures the round trip", async () => {
    const socket = online();
    const pings = () => socket.sent.filter(([event]) => event === "ping").length;
    service.startKeepAlive();
    await vi.advanceTimersByTimeAsync(30_000);
    expect(pings()).toBe(1);
    await vi.advanceTimersByTimeAsync(40);
    socket.says("pong", { server_time_ms: 1, last_seq: 0, v: 1 });
    expect(service.getConnectionInfo().latencyMs).toBe(40);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(pings()).toBe(2);
  });

  it("takes silence for a lost connection", async () => {
    const socket = online();
    service.startKeepAlive(30_000);
    await vi.advanceTimersByTimeAsync(40_000);
    expect([socket.ended, state()]).toEqual([true, "reconnecting"]);
  });

  it("stops when told", async () => {
    const socket = online();
    service.startKeepAlive(1_000);
    service.stopKeepAlive();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(socket.sent.filter(([event]) => event === "ping")).toHaveLength(0);
  });

  it("goes on after a reconnection", async () => {
    const first = online();
    service.startKeepAlive(1_000);
    await vi.advanceTimersByTimeAsync(500);
    first.drop();
    await vi.advanceTimersByTimeAsync(5_000);
    net.latest().welcome();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(net.latest().sent.filter(([event]) => event === "ping")).toHaveLength(1);
  });

  it("checkNow asks at once, and tries at once when there is no connection", () => {
    const socket = online();
    service.checkNow();
    expect(socket.sent.at(-1)).toEqual(["ping", {}]);
    socket.drop();
    service.checkNow();
    expect(net.sockets).toHaveLength(2);
  });
});

describe("watching claims", () => {
  it("tells the server once per claim and passes the snapshot on", async () => {
    const socket = online();
    record("claim_snapshot");
    const end = service.watchClaim("c1");
    service.watchClaim("c1");
    expect(socket.asked("watch_claim")).toHaveLength(1);
    const snapshot = { claim_id: "c1", version: 3, count: 3, vouch: 100, dispute: 0, unsure: 0, status: "open" };
    socket.asked("watch_claim")[0].resolve(snapshot);
    await settle();
    expect(log).toEqual([["claim_snapshot", snapshot, undefined]]);
    end();
    end();
    expect(socket.asked("unwatch_claim")).toHaveLength(0);
  });

  it("ends with the last watcher", () => {
    const socket = online();
    service.watchClaim("c1")();
    expect(socket.asked("unwatch_claim")).toHaveLength(1);
  });

  it("tells every new connection again", async () => {
    const first = online();
    service.watchClaim("c1");
    first.drop();
    await vi.advanceTimersByTimeAsync(5_000);
    net.latest().welcome();
    expect(net.latest().asked("watch_claim")).toHaveLength(1);
  });

  it("a refused or unanswered watch is no disaster", async () => {
    const socket = online();
    service.watchClaim("c1");
    service.watchClaim("c2");
    socket.asked("watch_claim")[0].resolve({ error: { code: "claim_not_found", message: "No." } });
    socket.asked("watch_claim")[1].reject(new Error("operation has timed out"));
    await settle();
    expect(state()).toBe("online");
  });
});

describe("listeners", () => {
  it("on returns the way out, off takes one or all, trigger calls", () => {
    newService();
    const calls = [];
    const stop = service.on("x", (data) => calls.push(["a", data]));
    const second = (data) => calls.push(["b", data]);
    service.on("x", second);
    service.trigger("x", 1);
    stop();
    service.trigger("x", 2);
    service.off("x", second);
    service.on("x", second);
    service.off("x");
    service.trigger("x", 3);
    expect(calls).toEqual([["a", 1], ["b", 1], ["b", 2]]);
  });

  it("getConnectionInfo is the same object until something changes", () => {
    online();
    const before = service.getConnectionInfo();
    expect(service.getConnectionInfo()).toBe(before);
    net.latest().says("new_notification", notification(1));
    expect(service.getConnectionInfo()).not.toBe(before);
    expect(Object.isFrozen(before)).toBe(true);
  });
});
