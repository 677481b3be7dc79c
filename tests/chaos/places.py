"""A disk that can be full, and a wall clock that can jump: of one process, never the machine's own.

Both need something of the machine (the right to mount, a C compiler); where it has not got it, one sentence
says so. Called by `chaos_scene` and the faults.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK_BYTES = 64 * 1024
SOURCE = Path(__file__).with_name("jumping_clock.c")


class MissingMeansError(Exception):
    """This machine cannot set the stage of a fault; the message says what it takes."""


class SmallDisk:
    """A file system in memory, of a fixed size, on a directory."""

    def __init__(self, home: Path, size_mb: int) -> None:
        self.home = home
        self._size_mb = size_mb

    def mount(self) -> None:
        """Raises MissingMeansError."""
        self.home.mkdir(parents=True, exist_ok=True)
        size = f"size={self._size_mb}m"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.home)], capture_output=True, check=False
        )
        if done.returncode:
            raise MissingMeansError("A full disk needs the right to mount a tmpfs: run the suite as root.")

    def unmount(self) -> None:
        """Also where a process still has a file open."""
        subprocess.run(["umount", "--lazy", str(self.home)], check=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left, until the block ends."""
        ballast = self.home / "ballast"
        try:
            with open(ballast, "wb", buffering=0) as file:
                _fill(file.fileno())
            yield
        finally:
            ballast.unlink(missing_ok=True)


def _fill(descriptor: int) -> None:
    block = bytes(BLOCK_BYTES)
    size = BLOCK_BYTES
    while size:
        try:
            os.write(descriptor, block[:size])
        except OSError:
            size //= 2


class WallClock:
    """The wall clock of processes that are started with `environment()`; monotonic clocks stay true.

    A small library, preloaded into them, adds an offset that they share with us through a file.
    """

    def __init__(self, home: Path) -> None:
        self._file = home / "clock"
        self._library = home / "jumping_clock.so"
        home.mkdir(parents=True, exist_ok=True)
        self._set(0)

    def environment(self) -> dict[str, str]:
        """Builds the library. Raises MissingMeansError."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise MissingMeansError("A jumping clock needs a C compiler: apt-get install gcc libc6-dev.")
        flags = ("-shared", "-fPIC", "-O2", "-o", str(self._library))
        subprocess.run([compiler, *flags, str(SOURCE)], check=True)
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    @contextmanager
    def jumped(self, offset_s: int) -> Iterator[None]:
        """The clock is ahead (behind: negative) by so much, until the block ends."""
        self._set(offset_s)
        try:
            yield
        finally:
            self._set(0)

    def _set(self, offset_s: int) -> None:
        """In place: the processes have mapped the file."""
        self._file.touch()
        with open(self._file, "r+b") as file:
            file.write(struct.pack("=q", offset_s))
