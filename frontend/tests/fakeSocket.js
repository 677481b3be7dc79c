/** A Socket.IO client without a network: tests play the server. */
export class FakeSocket {
  /** @param {string} origin @param {object} options what the service passed to `io` */
  constructor(origin, options) {
    this.origin = origin;
    this.options = options;
    this.connected = false;
    this.started = false;
    this.ended = false;
    this.handlers = new Map();
    this.sent = [];
    this.requests = [];
    this.io = { engine: new FakeEngine(options.transports[0]) };
  }

  on(event, handler) {
    this.handlers.set(event, [...(this.handlers.get(event) ?? []), handler]);
  }

  off() {
    this.handlers.clear();
  }

  connect() {
    this.started = true;
    this.options.auth((payload) => (this.auth = payload));
  }

  disconnect() {
    this.connected = false;
    this.ended = true;
  }

  emit(event, data) {
    this.sent.push([event, data]);
  }

  timeout() {
    return {
      emitWithAck: (event, data) =>
        new Promise((resolve, reject) => this.requests.push({ event, data, resolve, reject })),
    };
  }

  // ------------------------------------------------------------------ the server's side

  /** The server says something. */
  says(event, data) {
    for (const handler of this.handlers.get(event) ?? []) handler(data);
  }

  accept() {
    this.connected = true;
    this.says("connect");
    this.says("connection_established", { session_id: "s1", v: 1 });
  }

  /** Accept, and authenticate with the user's newest seq. */
  welcome(lastSeq = 0, more = {}) {
    this.accept();
    this.says("authenticated", { user_id: "u1", message: "Welcome.", last_seq: lastSeq, recovered: null, more: false, ...more });
  }

  refuse(code, message = "No.") {
    this.says("connect_error", Object.assign(new Error(message), { data: { code, message } }));
  }

  unreachable(detail = "websocket error") {
    this.says("connect_error", new Error(detail));
  }

  drop(reason = "transport close") {
    this.connected = false;
    this.says("disconnect", reason);
  }

  /** Requests of one kind that were made so far. */
  asked(event) {
    return this.requests.filter((request) => request.event === event);
  }
}

class FakeEngine {
  constructor(name) {
    this.transport = { name };
    this.handlers = {};
  }

  on(event, handler) {
    this.handlers[event] = handler;
  }

  upgrade(name) {
    this.handlers.upgrade?.({ name });
  }
}

/** An `io` that keeps the sockets it made. */
export function fakeIo() {
  const sockets = [];
  const io = (origin, options) => {
    const socket = new FakeSocket(origin, options);
    sockets.push(socket);
    return socket;
  };
  return { io, sockets, latest: () => sockets[sockets.length - 1] };
}

/** A localStorage. */
export function fakeStorage(entries = {}) {
  const map = new Map(Object.entries(entries));
  return {
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => map.set(key, String(value)),
    removeItem: (key) => map.delete(key),
  };
}

export function notification(seq, more = {}) {
  return {
    v: 1,
    id: `n${seq}`,
    seq,
    type: "system",
    title: `Title ${seq}`,
    message: `Message ${seq}`,
    priority: "medium",
    action_url: null,
    data: {},
    read: false,
    created_at: "2026-01-01T00:00:00Z",
    ...more,
  };
}
