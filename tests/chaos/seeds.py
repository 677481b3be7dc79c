"""Which pairs of fault and seed a run of the suite takes, by variables of the environment.

`VOUCHSTORM_CHAOS_SEEDS`: how many seeds (`10`), or which (`4-6`); 1 unless told. `VOUCHSTORM_CHAOS_SHORT=1`:
a handful of faults. `VOUCHSTORM_CHAOS_RESUME=1`: what is in the report already and clean is kept and not run
again. Pure; called by the suite and its fixtures.
"""

from collections.abc import Mapping, Sequence

from tests.chaos.faults import FAULTS, SHORT, Fault
from tests.chaos.run import Row

SEEDS = "VOUCHSTORM_CHAOS_SEEDS"
RESUME = "VOUCHSTORM_CHAOS_RESUME"
SHORT_FORM = "VOUCHSTORM_CHAOS_SHORT"


def seeds_of(environment: Mapping[str, str]) -> range:
    """The seeds that are asked for. Raises ValueError for what is neither a number nor a range."""
    first, dash, last = environment.get(SEEDS, "1").partition("-")
    return range(int(first), int(last) + 1) if dash else range(1, int(first) + 1)


def faults_of(environment: Mapping[str, str]) -> list[Fault]:
    """All faults, or those of the short form."""
    return [fault for fault in FAULTS if fault.name in SHORT or not _is_on(environment, SHORT_FORM)]


def resumes(environment: Mapping[str, str]) -> bool:
    """Is a run continued that was cut short?"""
    return _is_on(environment, RESUME)


def _is_on(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "") not in ("", "0")


def due(faults: Sequence[Fault], seeds: range, rows: Sequence[Row]) -> list[tuple[Fault, int]]:
    """Seed by seed, what `rows` does not hold a clean row of; so that a cut run leaves whole tables."""
    clean = {(row.fault, row.seed) for row in rows if not row.breaches}
    return [(fault, seed) for seed in seeds for fault in faults if (fault.name, seed) not in clean]
