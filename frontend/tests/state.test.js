import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Api, newIdempotencyKey } from "../src/services/api.js";
import { Emitter } from "../src/services/emitter.js";
import { DesktopAlerts } from "../src/state/desktopAlerts.js";
import { LiveClaims } from "../src/state/liveClaims.js";
import { SessionStore } from "../src/state/session.js";
import { fakeStorage, notification } from "./fakeSocket.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe("LiveClaims", () => {
  const claim = (more = {}) => ({
    id: "c1",
    quorum: 3,
    status: "open",
    tally: { vouch: 0, dispute: 0, unsure: 0, total: 0 },
    percentages: { vouch: 0, dispute: 0, unsure: 0 },
    version: 0,
    consensus: null,
    settled_at: null,
    ...more,
  });
  let service;
  let api;
  let live;

  beforeEach(() => {
    service = Object.assign(new Emitter(), { watchClaim: () => () => {} });
    api = { claim: vi.fn(async () => claim({ version: 3, status: "verified", tally: { total: 3 } })) };
    live = new LiveClaims({ service, api, random: () => 0 });
  });

  const count = (version) => service.trigger("validation_count_update", { claim_id: "c1", count: version, version });
  const shares = (version, vouch) =>
    service.trigger("consensus_update", { claim_id: "c1", vouch, dispute: 100 - vouch, unsure: 0, version });

  it("moves on with what is live", () => {
    const followed = live.follow(claim());
    count(1);
    shares(1, 100);
    expect(followed.get()).toMatchObject({ version: 1, tally: { total: 1 }, percentages: { vouch: 100 } });
  });

  it("never goes back", () => {
    const followed = live.follow(claim());
    count(5);
    count(4);
    shares(5, 80);
    shares(3, 10);
    live.take(claim({ version: 2 }));
    expect(followed.get()).toMatchObject({ version: 5, tally: { total: 5 }, percentages: { vouch: 80 } });
  });

  it("takes over a snapshot and a newer answer of REST", () => {
    const followed = live.follow(claim());
    service.trigger("claim_snapshot", { claim_id: "c1", version: 2, count: 2, vouch: 50, dispute: 50, unsure: 0, status: "open" });
    expect(followed.get().tally.total).toBe(2);
    live.take(claim({ version: 6, tally: { total: 6 } }));
    expect(followed.get().tally.total).toBe(6);
  });

  it("reads the claim again when it could be settled, and only then", async () => {
    live.follow(claim());
    live.watch("c1");
    count(2);
    shares(2, 100);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(api.claim).not.toHaveBeenCalled();
    count(3);
    shares(3, 100);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(api.claim).toHaveBeenCalledTimes(1);
    expect(live.follow(claim()).get().status).toBe("verified");
  });

  it("looks once more when the verdict came a moment after the numbers", async () => {
    api.claim.mockResolvedValueOnce(claim({ version: 3, tally: { total: 3 }, percentages: { vouch: 100, dispute: 0, unsure: 0 } }));
    live.follow(claim());
    live.watch("c1");
    count(3);
    shares(3, 100);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(live.follow(claim()).get().status).toBe("open");
    await vi.advanceTimersByTimeAsync(4_000);
    expect(live.follow(claim()).get().status).toBe("verified");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(api.claim).toHaveBeenCalledTimes(2);
  });

  it("does not turn a hot, undecided claim into a read per event", async () => {
    api.claim.mockImplementation(async () => claim({ version: 0 }));
    live.follow(claim());
    live.watch("c1");
    for (let version = 3; version < 203; version += 1) {
      count(version);
      shares(version, 55);
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(api.claim.mock.calls.length).toBeLessThanOrEqual(4);
  });

  it("stops reading when nobody looks any more", async () => {
    live.follow(claim());
    const end = live.watch("c1");
    service.trigger("consensus_reached", { claim_id: "c1" });
    end();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(api.claim).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("survives a failed read", async () => {
    api.claim.mockRejectedValue(new Error("unreachable"));
    live.follow(claim());
    live.watch("c1");
    service.trigger("consensus_reached", { claim_id: "c1" });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(live.follow(claim()).get().status).toBe("open");
  });

  it("keeps a bounded number of claims", () => {
    for (let number = 0; number < 2_000; number += 1) live.follow(claim({ id: `c${number}` }));
    expect(live.entries.size).toBeLessThanOrEqual(500);
  });
});

describe("DesktopAlerts", () => {
  function newAlerts(permission, hidden = true) {
    const shown = [];
    class Notification {
      static permission = permission;
      static requestPermission = vi.fn(async () => "granted");
      constructor(title, options) {
        shown.push({ title, ...options, notification: this });
      }
      close() {}
    }
    const page = { Notification, document: { hidden }, focus: vi.fn() };
    const service = new Emitter();
    const opened = [];
    const alerts = new DesktopAlerts({ service, open: (path) => opened.push(path), page });
    return { alerts, service, shown, opened, Notification };
  }

  it("asks for nothing by itself", () => {
    const { service, Notification, shown } = newAlerts("default");
    service.trigger("new_notification", notification(1), { live: true });
    expect(Notification.requestPermission).not.toHaveBeenCalled();
    expect(shown).toEqual([]);
  });

  it("shows after permission, and leads to the page", async () => {
    const { alerts, service, shown, opened } = newAlerts("default");
    await alerts.ask();
    service.trigger("new_notification", notification(1, { action_url: "/claims/c1" }), { live: true });
    expect(shown[0]).toMatchObject({ title: "Title 1", body: "Message 1", tag: "vouchstorm-n1" });
    shown[0].notification.onclick();
    expect(opened).toEqual(["/claims/c1"]);
  });

  it("stays quiet while somebody looks, for replays, and in a burst", async () => {
    const looking = newAlerts("granted", false);
    looking.service.trigger("new_notification", notification(1), { live: true });
    const away = newAlerts("granted");
    away.service.trigger("new_notification", notification(1), { live: false });
    for (let seq = 2; seq < 50; seq += 1) away.service.trigger("new_notification", notification(seq), { live: true });
    await vi.advanceTimersByTimeAsync(5_000);
    away.service.trigger("new_notification", notification(50), { live: true });
    expect(looking.shown).toEqual([]);
    expect(away.shown.map((item) => item.title)).toEqual(["Title 2", "Title 50 (and 47 more)"]);
  });

  it("knows browsers without them", async () => {
    const alerts = new DesktopAlerts({ service: new Emitter(), open: () => {}, page: { document: {} } });
    await alerts.ask();
    expect(alerts.permission.get()).toBe("unsupported");
  });
});

describe("SessionStore", () => {
  const answer = { token: "t1", user: { id: "u1" } };

  it("keeps who signed in, for the next page load too", () => {
    const storage = fakeStorage();
    new SessionStore(() => storage).signIn(answer);
    expect(new SessionStore(() => storage).state.get().session).toMatchObject({ userId: "u1", token: "t1" });
  });

  it("ends with a reason, once, and not for a token that was replaced", () => {
    const session = new SessionStore(() => fakeStorage());
    session.signIn(answer);
    session.expire("an older one", "Expired.");
    expect(session.token).toBe("t1");
    session.expire("t1", "Expired.");
    expect(session.state.get()).toEqual({ session: null, notice: "Expired." });
  });

  it("follows what another tab does", () => {
    const storage = fakeStorage();
    const [one, other] = [new SessionStore(() => storage), new SessionStore(() => storage)];
    one.signIn(answer);
    other.changedElsewhere({ key: "vouchstorm.token" });
    expect(other.token).toBe("t1");
    one.signOut();
    other.changedElsewhere({ key: "something.else" });
    expect(other.token).toBe("t1");
    other.changedElsewhere({ key: null });
    expect(other.token).toBeNull();
  });
});

describe("Api", () => {
  const respond = (status, body) => async () => new Response(body === undefined ? null : JSON.stringify(body), { status });

  it("sends the token in a header, never in the address", async () => {
    const request = vi.fn(respond(200, { items: [] }));
    await new Api({ token: () => "secret", request }).notifications({ before_seq: 5, unread: undefined });
    const [url, options] = request.mock.calls[0];
    expect([url, options.headers.Authorization]).toEqual(["/api/notifications?before_seq=5", "Bearer secret"]);
  });

  it("turns a problem document into an error with code, sentence and fields", async () => {
    const body = { detail: "Taken.", code: "username_taken", errors: [{ field: "username", message: "is taken" }] };
    const api = new Api({ token: () => null, request: respond(409, body) });
    await expect(api.register({})).rejects.toMatchObject({ message: "Taken.", code: "username_taken", status: 409, errors: body.errors });
  });

  it("has a sentence for an answer that is no problem document, and for none", async () => {
    const odd = new Api({ token: () => null, request: async () => new Response("<html>", { status: 502 }) });
    await expect(odd.badges()).rejects.toMatchObject({ message: "The server answered with status 502.", code: "unknown" });
    const dead = new Api({ token: () => null, request: async () => Promise.reject(new TypeError("Failed to fetch")) });
    await expect(dead.badges()).rejects.toMatchObject({ message: "The server cannot be reached.", code: "unreachable", status: 0 });
    const slow = new Api({ token: () => null, request: async () => Promise.reject(new DOMException("", "TimeoutError")) });
    await expect(slow.badges()).rejects.toMatchObject({ message: "The server takes too long to answer." });
  });

  it("has a sentence for an answer that breaks off, comes too late, or is somebody else's", async () => {
    const answers = (body) => new Api({ token: () => null, request: async () => new Response(body, { status: 200 }) });
    const failing = (error) => answers(new ReadableStream({ start: (controller) => controller.error(error) }));
    await expect(answers("<html>Welcome to our wireless network").badges()).rejects.toMatchObject({ message: "What answered is not this server.", code: "unreachable" });
    await expect(failing(new TypeError("terminated")).badges()).rejects.toMatchObject({ message: "The server cannot be reached.", code: "unreachable" });
    await expect(failing(new DOMException("", "TimeoutError")).badges()).rejects.toMatchObject({ message: "The server takes too long to answer.", code: "unreachable" });
  });

  it("says when the session is over, but not for a wrong password", async () => {
    const refused = vi.fn();
    const expired = respond(401, { detail: "Expired.", code: "token_expired" });
    await expect(new Api({ token: () => "t", refused, request: expired }).notifications({})).rejects.toThrow();
    const wrong = respond(401, { detail: "Wrong.", code: "wrong_credentials" });
    await expect(new Api({ token: () => "t", refused, request: wrong }).login({})).rejects.toThrow();
    expect(refused).toHaveBeenCalledTimes(1);
    expect(refused.mock.calls[0][0]).toBe("t");
  });

  it("repeats a post under the same key, and reads nothing from an empty answer", async () => {
    const request = vi.fn(respond(204));
    const api = new Api({ token: () => "t", request });
    await api.validate("c/1", { action: "vouch" }, "key");
    expect(request.mock.calls[0][0]).toBe("/api/claims/c%2F1/validations");
    expect(request.mock.calls[0][1].headers["Idempotency-Key"]).toBe("key");
    expect(newIdempotencyKey()).toMatch(/^[0-9a-f]{32}$/);
  });
});
