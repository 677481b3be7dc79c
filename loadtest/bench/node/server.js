// Socket.IO on Node with ws, as its documentation advises for many sockets: websocket only, no
// permessage-deflate, the HTTP request of each handshake let go, native bufferutil where it installs.
// The token is verified before the connection is accepted and two rooms are joined; there is no store.
// Speaks the control channel of loadtest/bench/system.py.

"use strict";

const { createServer } = require("node:http");
const { createInterface } = require("node:readline");
const { parseArgs } = require("node:util");
const jwt = require("jsonwebtoken");
const { Server } = require("socket.io");

const SECRET = "bench-only-secret-of-at-least-32-characters";
const ROOM = "live";
const EVENT = "consensus_update";
let nextNumber = 1_000_000;

const { values: options } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    users: { type: "string" },
    "ping-interval-s": { type: "string", default: "25" },
    "ping-timeout-s": { type: "string", default: "20" },
  },
});

const http = createServer();
const io = new Server(http, {
  path: "/ws/socket.io/",
  transports: ["websocket"],
  serveClient: false,
  perMessageDeflate: false,
  httpCompression: false,
  pingInterval: Number(options["ping-interval-s"]) * 1000,
  pingTimeout: Number(options["ping-timeout-s"]) * 1000,
});

io.engine.on("connection", (raw) => {
  raw.request = null;
});

io.use((socket, next) => {
  try {
    const claims = jwt.verify(socket.handshake.auth.token, SECRET, {
      algorithms: ["HS256"],
      audience: "vouchstorm",
      issuer: "vouchstorm",
    });
    socket.data.userId = claims.sub;
    next();
  } catch {
    next(new Error("This token is not valid."));
  }
});

io.on("connection", (socket) => {
  socket.join([`user:${socket.data.userId}`, ROOM]);
});

function payload(number) {
  return {
    v: 1,
    claim_id: "01JZX4M9Q7T2V5B8N3K6H1D0CF",
    vouch: 61.5,
    dispute: 30.8,
    unsure: 7.7,
    version: number,
    status: "open",
  };
}

function emit(events) {
  for (let i = 0; i < events; i += 1) {
    io.to(ROOM).emit(EVENT, payload(nextNumber));
    nextNumber += 1;
  }
}

function say(line) {
  process.stdout.write(`${line}\n`);
}

function obey(line) {
  const [command, argument] = line.split(" ");
  if (command === "emit") emit(1);
  else if (command === "burst") emit(Number(argument));
  else if (command === "members") say(io.of("/").adapter.rooms.get(ROOM)?.size ?? 0);
  else if (command === "collect") {
    global.gc();
    say("ok");
  } else throw new Error(`unknown command ${line}`);
}

function versionOf(name) {
  try {
    return require(`${name}/package.json`).version;
  } catch {
    return "absent";
  }
}

http.listen({ host: "127.0.0.1", port: Number(options.port), backlog: 4096 }, () => {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", obey);
  lines.on("close", () => process.exit(0));
  const versions = { node: process.versions.node };
  for (const name of ["socket.io", "ws", "bufferutil", "jsonwebtoken"]) versions[name] = versionOf(name);
  say(JSON.stringify({ port: http.address().port, pid: process.pid, versions }));
});
