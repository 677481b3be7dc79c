"""Where the server is: an URL and an Engine.IO path, taken apart once and shared by all clients of a run.

Refuses what a client could only discover late: a wrong scheme, a missing host, credentials or a query in
the URL.
"""

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SECURE_OF_SCHEME = {"http": False, "ws": False, "https": True, "wss": True}
EIO_VERSION = "4"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Socket.IO server's address.

    scheme: http, https, ws or wss; ws means the same as http. path: starts and ends with a slash.
    tls: context for https and wss, one for all clients because building one reads every trusted root.
    """

    scheme: str
    host: str
    port: int
    path: str = "/socket.io/"
    tls: ssl.SSLContext | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, url: str, path: str = "/socket.io/", *, tls: ssl.SSLContext | None = None) -> "Endpoint":
        """Split an URL such as `http://127.0.0.1:8000`; the URL's own path is refused, `path` rules.

        Raises ValueError with a sentence that says what to change.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme = parts.scheme.lower()
        if scheme not in SECURE_OF_SCHEME:
            raise ValueError(f"{url!r}: use an http, https, ws or wss URL, not {scheme!r}")
        if not parts.hostname:
            raise ValueError(f"{url!r}: the URL names no host")
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"{url!r}: put credentials into the auth payload, not into the URL")
        if parts.query or parts.fragment or parts.path not in ("", "/"):
            raise ValueError(f"{url!r}: give only scheme, host and port; the Engine.IO path is set apart")
        try:
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r}: the port is not a number from 1 to 65535") from error
        if port == 0:
            raise ValueError(f"{url!r}: the port is not a number from 1 to 65535")
        secure = SECURE_OF_SCHEME[scheme]
        if secure and tls is None:
            tls = ssl.create_default_context()
        return cls(
            scheme,
            parts.hostname,
            port or (443 if secure else 80),
            _clean_path(path),
            tls if secure else None,
        )

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return SECURE_OF_SCHEME[self.scheme]

    @property
    def authority(self) -> str:
        """The Host header: host and port, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def target(self, transport: str, sid: str | None = None) -> str:
        """The request target of one Engine.IO request; `transport` is `websocket` or `polling`."""
        query = f"EIO={EIO_VERSION}&transport={transport}"
        return f"{self.path}?{query}&sid={sid}" if sid else f"{self.path}?{query}"


def _clean_path(path: str) -> str:
    if not path or any(not 0x21 <= ord(char) <= 0x7E or char in "?#" for char in path):
        raise ValueError(f"{path!r}: an Engine.IO path is printable ASCII without spaces, '?' or '#'")
    return "/" + path.strip("/") + "/" if path.strip("/") else "/"
