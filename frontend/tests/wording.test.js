import { describe, expect, it } from "vitest";
import { matchRoute, safePath } from "../src/router.js";
import { badgeLabel, dayLabel, initials, percentLabel, plural, timeAgo } from "../src/wording.js";

const NOW = new Date(2026, 4, 20, 12, 0, 0).getTime();
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

describe("timeAgo", () => {
  it.each([
    [-5 * SECOND, "just now"],
    [0, "just now"],
    [59 * SECOND, "just now"],
    [MINUTE, "1 minute ago"],
    [59 * MINUTE, "59 minutes ago"],
    [HOUR, "1 hour ago"],
    [23 * HOUR, "23 hours ago"],
    [DAY, "1 day ago"],
    [6 * DAY, "6 days ago"],
    [7 * DAY, "May 13, 2026"],
  ])("%i ms ago", (ageMs, words) => {
    expect(timeAgo(NOW - ageMs, NOW)).toBe(words);
  });

  it("says nothing about a time that is none", () => {
    expect(timeAgo("nonsense", NOW)).toBe("");
  });
});

describe("numbers and names", () => {
  it.each([
    [1, "1"],
    [99, "99"],
    [100, "99+"],
    [5_000, "99+"],
  ])("badge of %i", (unread, label) => expect(badgeLabel(unread)).toBe(label));

  it("plural, percent, initials, days", () => {
    expect([plural(1, "vote"), plural(2, "vote"), plural(1_200, "vote")]).toEqual(["1 vote", "2 votes", "1,200 votes"]);
    expect([percentLabel(100), percentLabel(66.7), percentLabel(0)]).toEqual(["100%", "66.7%", "0%"]);
    expect([initials("Ana Lindqvist"), initials("bo"), initials("_"), initials("a.b.c")]).toEqual(["AL", "BO", "?", "AC"]);
    expect(dayLabel(new Date(NOW - HOUR).toISOString(), NOW)).toBe("Today");
    expect(dayLabel(new Date(NOW - DAY).toISOString(), NOW)).toBe("Yesterday");
    expect(dayLabel(new Date(NOW - 3 * DAY).toISOString(), NOW)).toBe("May 17, 2026");
  });
});

describe("router", () => {
  it.each([
    ["/", "claims", null],
    ["/claims/", "claims", null],
    ["/claims/new", "newClaim", null],
    ["/claims/01a2", "claim", "01a2"],
    ["/users/u%201", "user", "u 1"],
    ["/users/%E0%A4%A", "user", "%E0%A4%A"],
    ["/claims/1/2", "notFound", null],
    ["/nowhere", "notFound", null],
  ])("%s", (path, page, id) => expect(matchRoute(path)).toEqual({ page, id }));

  it.each([
    ["/claims/1?x=2", "/claims/1?x=2"],
    ["//evil.example", "/"],
    ["/\\evil.example", "/"],
    ["https://evil.example", "/"],
    ["", "/"],
    [null, "/"],
  ])("follows only its own paths: %s", (path, safe) => expect(safePath(path)).toBe(safe));
});
