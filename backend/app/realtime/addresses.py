"""Whose connection this is: the address that limits are counted by. Pure.

The peer's own address, unless the peer is a proxy that we trust: then the last address in X-Forwarded-For
that is no such proxy. What comes before it, the client may have written itself.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

UNKNOWN = "unknown"
"""Peers without an address: Unix sockets."""
IPV6_PREFIX = 64
"""One household has at least this many addresses of its own: they count as one."""


class Proxies:
    """The proxies that are believed."""

    def __init__(self, trusted: str) -> None:
        """trusted: addresses and networks, comma separated; `*`: everybody. Other words are host names."""
        names = [part.strip() for part in trusted.split(",") if part.strip()]
        self._everybody = "*" in names
        self._literal = set(names)
        self._networks = [network for name in names if (network := _network(name)) is not None]

    def trusts(self, address: str) -> bool:
        """Is this one of them?"""
        if self._everybody or address in self._literal:
            return True
        if not self._networks:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def client(self, peer: str | None, forwarded_for: Sequence[bytes]) -> str:
        """The address to count by. forwarded_for: values of that header, in order."""
        address = peer or UNKNOWN
        if forwarded_for and self.trusts(address):
            for hop in reversed(b",".join(forwarded_for).decode("latin-1").split(",")):
                stated = _without_port(hop.strip())
                if stated is None:
                    break  # not an address: whoever wrote this, the proxy before it is all we know
                address = stated
                if not self.trusts(address):
                    break
        return _grouped(address)


def _network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(name, strict=False)
    except ValueError:
        return None


def _without_port(hop: str) -> str | None:
    """The address of `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]:5`; None for anything else."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return None


def _grouped(address: str) -> str:
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, IPV6_PREFIX), strict=False))
