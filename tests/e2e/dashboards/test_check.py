"""The dashboards on a real run: every panel shows something. The alerts: `test_alerts_real.py`."""

from pathlib import Path

import pytest

from dashboards.check import main
from tests.support.watched_stack import need_prometheus

pytestmark = pytest.mark.timeout(300)  # a stack, Prometheus and a run, on machines that may be busy


@pytest.fixture(autouse=True)
def _prometheus() -> None:
    need_prometheus()


def test_every_panel_shows_something_of_a_real_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--seconds", "8", "--pictures", str(tmp_path)])
    assert capsys.readouterr().out == ""
    assert status == 0
    assert "no data" not in (tmp_path / "overview.svg").read_text()
