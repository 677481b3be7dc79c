"""The first moments of a child process: `python -I -S launch.py PARENT PROCESSORS PROGRAM ARGUMENTS...`.

Stands alone and imports nothing of ours, so that it costs a few milliseconds. It raises the limit of open
files, keeps to the processors (`0,1`; empty: any), asks the kernel for SIGTERM when the parent (a pid; empty:
nobody) dies, and becomes the program. Where the kernel has no such service, a child may outlive its parent.
"""

import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""
MAX_FILES = 65_536


def tie_to_parent(parent: int) -> None:
    """SIGTERM for this process when its parent, `parent`, dies; at once when it is dead already."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("What started this program ended before it.")


def raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(parent: str, processors: str, *command: str) -> None:
    """Become the program."""
    raise_file_limit()
    if processors:
        os.sched_setaffinity(0, set(map(int, processors.split(","))))
    if parent:
        tie_to_parent(int(parent))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a program inherits that
    os.execvp(command[0], command)  # noqa: S606 - the very purpose


if __name__ == "__main__":
    main(*sys.argv[1:])
