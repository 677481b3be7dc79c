"""The soak: minutes of churn, after which the node must be as it was before. `make soak`; `SOAK_MINUTES=30`.

Writes reports/soak.json.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.soak.run import soak

MINUTES = float(os.environ.get("SOAK_MINUTES", "5"))
REPORT = Path(__file__).parents[2] / "reports" / "soak.json"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(MINUTES * 60 + 300)]


async def test_nothing_grows_with_the_connections(tmp_path: Path) -> None:
    soaked = await soak(tmp_path, warm_s=20 + MINUTES * 4, churn_s=MINUTES * 60, places=40)
    REPORT.parent.mkdir(exist_ok=True)
    document = {
        "growth": soaked.growth.document(),
        "tally": asdict(soaked.tally),
        "leaks": soaked.leaks,
    }
    REPORT.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    assert soaked.leaks == []
    assert soaked.growth.connections > MINUTES * 300
    assert min(soaked.tally.drops, soaked.tally.expiries, soaked.tally.silent, soaked.tally.watches) > 0
