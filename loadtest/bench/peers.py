"""Gets the Node peer ready: `npm ci` on demand, from the committed lock file."""

import shutil
import subprocess

from .system import NODE_DIR

INSTALL_TIMEOUT_S = 300


def node_trouble() -> str | None:
    """Why the Node peer cannot take part, or None. Installs its packages when they are not there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    installed = NODE_DIR / "node_modules" / ".package-lock.json"
    lock = NODE_DIR / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return None
    # No install scripts: the native add-on ships its binaries inside the package.
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    try:
        subprocess.run(command, cwd=NODE_DIR, check=True, timeout=INSTALL_TIMEOUT_S, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        return f"npm ci failed: {error}"
    installed.touch()
    return None
