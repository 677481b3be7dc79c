"""The sockets: Engine.IO sessions, rooms, fan-out, replay.

From the stored fact (`ports.Push`) to bytes on each socket, and from a client's event to a service call.
Nothing here decides anything about claims.
"""
