"""Install what is missing from Debian packages."""

import os
import shutil
import subprocess
from pathlib import Path

from local_services.layout import UnavailableError, locked

# RUNLEVEL=1 keeps the packages' own services from starting on the default ports.
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
LOCK_TIMEOUT = "DPkg::Lock::Timeout=300"


def apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run apt-get, waiting for whoever else is installing."""
    command = ["apt-get", "-o", LOCK_TIMEOUT, *arguments]
    return subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)


def install(program: str, packages: tuple[str, ...], home: Path) -> None:
    """Install the packages that hold a lacking program; refresh the package lists only if the first try fails.

    Raises UnavailableError without root, without apt-get, or with apt-get's own last words.
    """
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise UnavailableError(f"{program} is not installed, and there is no apt-get to install {names}")
    if os.geteuid() != 0:
        raise UnavailableError(f"{program} is not installed, and only root may `apt-get install {names}`")
    with locked(home / "apt.lock"):
        request = ("install", "-y", "--no-install-recommends", *packages)
        result = apt_get(*request)
        if result.returncode:
            apt_get("update")
            result = apt_get(*request)
    if result.returncode:
        words = (result.stderr or result.stdout).strip().splitlines() or ["no output"]
        raise UnavailableError(f"`apt-get install {names}` failed: {words[-1]}")
