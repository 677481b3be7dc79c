// A chat-like Socket.IO server on Node, as its documentation would have it: no recovery, nothing is kept.
//
//     npm install && node server.js [--port 3000]
//
// `join {room}` -> ack {room}. POST /publish {room, id, stamp} sends `message {id, stamp}` to the room.
// `echo` -> ack. GET /counts says what really happened, counted here and by nobody else:
//     published: messages; sent: one for each socket that was in the room at that moment;
//     in_doubt: those of `sent` that left within IN_DOUBT_MS of the end of their socket: whether they arrived
//     nobody at this end can know; owed: one for each client that had ever joined the room.
// Prints one JSON line when it listens.

"use strict";

const { createServer } = require("node:http");
const { parseArgs } = require("node:util");
const { Server } = require("socket.io");

const IN_DOUBT_MS = 250;
const MAX_BODY_BYTES = 64 * 1024;

const { values: options } = parseArgs({ options: { port: { type: "string", default: "3000" } } });
const counts = { published: 0, sent: 0, in_doubt: 0, owed: 0 };
const joined = new Map(); // room -> ids of the clients that were ever in it

const http = createServer(answer);
const io = new Server(http, { serveClient: false });

io.on("connection", (socket) => {
  socket.data.sentAt = []; // of the last moments only
  socket.on("join", ({ room }, ack) => {
    socket.join(room);
    if (!joined.has(room)) joined.set(room, new Set());
    joined.get(room).add(socket.handshake.auth.client ?? socket.id);
    ack({ room });
  });
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("disconnecting", () => {
    const since = performance.now() - IN_DOUBT_MS;
    counts.in_doubt += socket.data.sentAt.filter((at) => at >= since).length;
  });
});

function publish({ room, id, stamp }) {
  const now = performance.now();
  const members = io.sockets.adapter.rooms.get(room) ?? new Set();
  for (const sid of members) {
    const recent = io.sockets.sockets.get(sid)?.data.sentAt ?? [];
    while (recent.length && recent[0] < now - IN_DOUBT_MS) recent.shift();
    recent.push(now);
  }
  counts.published += 1;
  counts.sent += members.size;
  counts.owed += joined.get(room)?.size ?? 0;
  io.to(room).emit("message", { id, stamp });
  return { members: members.size };
}

function answer(request, response) {
  const reply = (status, body) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (request.method === "GET" && request.url === "/counts") {
    reply(200, counts);
  } else if (request.method === "POST" && request.url === "/publish") {
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
      if (text.length > MAX_BODY_BYTES) request.destroy();
    });
    request.on("end", () => {
      try {
        reply(200, publish(JSON.parse(text)));
      } catch {
        reply(400, { error: "Send JSON: {room, id, stamp}." });
      }
    });
  } else {
    reply(404, { error: "There are /publish and /counts." });
  }
}

http.listen(Number(options.port), "127.0.0.1", () => {
  const url = `http://127.0.0.1:${http.address().port}`;
  console.log(JSON.stringify({ ready: true, url, pid: process.pid }));
});
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
