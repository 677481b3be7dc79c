"""The old name of `notifier`, kept for one release."""

import warnings

from .notifier import BusEmitter, Outside, outside

__all__ = ["BusEmitter", "Outside", "outside"]

warnings.warn("backend.app.outside is now backend.app.notifier", DeprecationWarning, stacklevel=2)
