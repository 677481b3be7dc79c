"""What can go wrong on the wire.

    WireError
    +-- ProtocolError        the peer sent something the protocol does not allow: the connection is dropped
    +-- ConnectFailedError   no connection came about within the time given
    +-- NotConnectedError    an acknowledgement was asked for on a client that is not (or no longer) connected
    +-- CallTimeoutError     the acknowledgement did not come in time

A running client never raises into the event loop: it counts, remembers `last_failure` and follows its
reconnect policy.
"""


class WireError(Exception):
    """Root. `str(error)` is one sentence fit for a user."""


class ProtocolError(WireError):
    """The bytes received break the protocol named in the message. Nothing after them can be trusted."""


class ConnectFailedError(WireError):
    """No namespace connection within the time given; the message carries the last failure seen."""


class NotConnectedError(WireError):
    """The client is not connected, or lost its connection before the answer came."""


class CallTimeoutError(WireError):
    """No acknowledgement within the time given. The server may still have acted on the event."""
