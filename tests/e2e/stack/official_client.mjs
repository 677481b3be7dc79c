// The official Socket.IO client against the stack: polls, upgrades, authenticates, watches, receives, resumes.
// Arguments: directory with node_modules, URL, token, claim id. Says each step as one JSON line.
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

const [directory, url, token, claimId] = process.argv.slice(2);
const { io } = createRequire(path.join(path.resolve(directory), "package.json"))("socket.io-client");

const say = (step, facts = {}) => console.log(JSON.stringify({ step, ...facts }));
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

let lastSeq;
const socket = io(url, {
  path: "/ws/socket.io",
  withCredentials: true, // keeps the load balancer's cookie, as a browser does
  reconnection: false,
  auth: (give) => give(lastSeq === undefined ? { token } : { token, last_seq: lastSeq }),
});
socket.on("connect_error", (error) => {
  say("refused", { message: error.message });
  process.exit(1);
});

const authenticated = once(socket, "authenticated");
const upgraded = once(socket.io.engine, "upgrade");
const opened = new Promise((resolve) => socket.io.once("open", () => resolve(socket.io.engine.transport.name)));
await once(socket, "connect");
say("connected", { transport: await opened });
lastSeq = (await authenticated).last_seq;
say("authenticated", { lastSeq });
say("watching", await socket.timeout(20_000).emitWithAck("watch_claim", { claim_id: claimId }));
await upgraded;
say("upgraded", { transport: socket.io.engine.transport.name });

const first = await once(socket, "new_notification");
lastSeq = first.seq;
say("notified", { seq: first.seq });
socket.disconnect();
say("away");

await once(readline.createInterface({ input: process.stdin }), "line");
const again = once(socket, "authenticated");
const missed = once(socket, "new_notification");
socket.connect();
say("resumed", { recovered: (await again).recovered });
say("caught up", { seq: (await missed).seq });
socket.disconnect();
process.exit(0);
