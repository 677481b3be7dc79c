"""Kicks of the last minute: for sockets that are being let in while their token is revoked. Pure.

The store says whether a token is revoked, at the moment it is read. What comes after that moment and before
the socket is known by its user would miss it; it is looked up here.
"""

from collections import OrderedDict

from .bus.messages import Kick

KEPT_S = 60.0
"""Longer than any look-up of the store may take."""
KEPT_KICKS = 100_000


class KickedLately:
    """Remembers kicked tokens for KEPT_S, the newest KEPT_KICKS of them."""

    def __init__(self) -> None:
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def note(self, kick: Kick, now_s: float) -> None:
        """This was kicked now. A whole user may come back with the same token: that is not remembered."""
        if kick.jti is not None:
            self._until_s[kick.jti] = now_s + KEPT_S
            self._until_s.move_to_end(kick.jti)
        while self._until_s:
            oldest, until_s = next(iter(self._until_s.items()))
            if until_s > now_s and len(self._until_s) <= KEPT_KICKS:
                return
            del self._until_s[oldest]

    def holds(self, jti: str | None, now_s: float) -> bool:
        """Was this token kicked lately?"""
        return jti is not None and self._until_s.get(jti, 0.0) > now_s
