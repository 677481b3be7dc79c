"""The old name of `websocket`, kept for one release: `--ws backend.app.realtime.wire:FanoutProtocol`."""

import warnings

from .websocket import FanoutProtocol

__all__ = ["FanoutProtocol"]

warnings.warn(
    "backend.app.realtime.wire is now backend.app.realtime.websocket", DeprecationWarning, stacklevel=2
)
