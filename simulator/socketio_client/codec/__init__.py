"""Engine.IO, Socket.IO, WebSocket and HTTP framing, without I/O."""
