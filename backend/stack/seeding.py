"""Seeding of a stack that runs, by `vouchstorm seed` in a process of its own: here is the stack's event loop.

The store's URL goes by the environment: a command line can be read by everybody on the machine. Called by the
command line.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .programs import ROOT


@dataclass(frozen=True, slots=True)
class StackSeed:
    """What to seed; see `vouchstorm seed`. tokens, claims_file: None writes none."""

    users: int
    claims: int = 0
    quorum: int = 3
    number: int = 1
    prefix: str = "user"
    tokens: Path | None = None
    claims_file: Path | None = None

    def words(self) -> list[str]:
        """The options of `vouchstorm seed`."""
        words = ["--users", str(self.users), "--claims", str(self.claims), "--quorum", str(self.quorum)]
        words += ["--seed", str(self.number), "--prefix", self.prefix]
        words += ["--tokens", str(self.tokens)] if self.tokens else []
        words += ["--claims-file", str(self.claims_file)] if self.claims_file else []
        return words


def environment(facts: Mapping[str, Any]) -> dict[str, str]:
    """What tells `seed` where the store of the stack with these ready facts is, whatever ours says."""
    data_dir = str(facts["data_dir"])
    store_url = facts["mongodb"] or f"sqlite:///{data_dir}/vouchstorm.db"
    return {"VOUCHSTORM_DATA_DIR": data_dir, "VOUCHSTORM_STORE_URL": store_url}


def seed_stack(facts: Mapping[str, Any], seed: StackSeed) -> int:
    """Seed the stack of these ready facts; the exit code of `seed`, which has said what was wrong. Blocks."""
    command = [sys.executable, str(ROOT / "cli.py"), "seed", *seed.words()]
    done = subprocess.run(
        command, env={**os.environ, **environment(facts)}, stdout=subprocess.DEVNULL, check=False
    )
    return done.returncode
