"""The words both sides speak: events, REST bodies, rooms, error codes.

A leaf of the import graph: pydantic only, no I/O, no imports from the rest of the backend.
`docs/asyncapi.yaml`, `docs/openapi.json` and the JavaScript types are generated from here.
"""

CONTRACT_VERSION = 1
SOCKETIO_PATH = "/ws/socket.io/"
