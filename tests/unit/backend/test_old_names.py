"""Names that moved still work for one release, and say where they moved."""

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("backend.app.realtime.wire", "backend.app.realtime.websocket", "FanoutProtocol"),
        ("backend.app.outside", "backend.app.notifier", "outside"),
    ],
)
def test_an_old_name_works_and_warns(old: str, new: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        module = importlib.import_module(old)
    assert getattr(module, name) is getattr(importlib.import_module(new), name)
