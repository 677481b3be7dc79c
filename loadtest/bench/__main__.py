"""`python -m loadtest.bench`: see docs/BENCH.md.

Exit codes: 0 measured, 3 set-up failed, 4 too many repetitions were invalid, 130 interrupted.
"""

import sys

from simulator import interrupts


def _bench() -> int:
    from .command import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    interrupts.program(_bench, "bench")
