"""Starts a program whose life is tied to ours: `python -I -S launch.py PROGRAM ARGUMENTS...`.

Stands alone and imports nothing of ours, so that it costs a few milliseconds. It moves into a session of its
own (Ctrl-C in the terminal reaches only the keeper of the stack), raises the limit of open files, asks the
kernel for SIGTERM when the parent dies, and becomes the program. Where the kernel has no such service, the
state file of the stack lets `vouchstorm down` find what is left.
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
        sys.exit("The stack ended before this program started.")


def raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(arguments: list[str]) -> None:
    """Become the program. arguments: our parent's pid, then the program and its arguments."""
    os.setsid()
    raise_file_limit()
    tie_to_parent(int(arguments[0]))
    os.execvp(arguments[1], arguments[1:])  # noqa: S606 - the very purpose


if __name__ == "__main__":
    main(sys.argv[1:])
