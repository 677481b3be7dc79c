"""Node.js, which builds and tests the web UI: is one here, and does Vite accept it.

Called by `vouchstorm doctor` and by the Makefile (`python -m backend.stack.nodejs "What is left out"`). Uses
the standard library only and starts nothing but `node --version`.
"""

import re
import shutil
import subprocess
import sys

NEEDED = "Node.js 20.19 or newer (22.12 or newer of 22) with npm"
SOURCE = "https://nodejs.org/en/download (the package of Debian 12 is older)"
LEAST_MINOR = {20: 19, 22: 12}
"""Of the releases that Vite accepts from some version on; it accepts all from 23 on."""
FIRST_ALWAYS_ACCEPTED = 23
ANSWER_S = 10


def fits(version: str) -> bool:
    """Whether the web UI can be built with it. `version`: as `node --version` says it, such as `v20.19.0`."""
    found = re.fullmatch(r"v(\d+)\.(\d+)\.\d+\S*", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return major >= FIRST_ALWAYS_ACCEPTED or minor >= LEAST_MINOR.get(major, sys.maxsize)


def installed_version() -> str | None:
    """What `node --version` says; None where there is no Node.js that runs."""
    program = shutil.which("node")
    if program is None:
        return None
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=ANSWER_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None


def node_trouble() -> str | None:
    """Why the web UI can be neither built nor tested here, and what to install; None: it can."""
    version = installed_version()
    if version is None:
        found = "there is no Node.js here"
    elif not fits(version):
        found = f"here it is {version}"
    elif shutil.which("npm") is None:
        found = "there is no npm here"
    else:
        return None
    return f"this needs {NEEDED}, and {found}; install it from {SOURCE}."


def main(left_out: str) -> int:
    """0: Node.js fits. 1: one sentence on standard output says what is left out and why."""
    trouble = node_trouble()
    if trouble is None:
        return 0
    sys.stdout.write(f"{left_out}: {trouble}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
