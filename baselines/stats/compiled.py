"""How the loops of the pure packages are compiled.

All kinds are cached on disk and divide as NumPy does: a division by zero gives infinity or NaN, not an exception.
`inlined` is for the small steps of a hot loop, `lean` for hot loops that make no arrays: for every array handed to a
function that branches references are counted, which costs more than its work, and `lean` leaves that out. What it calls
may make arrays.

numba takes a cached loop for good as long as the file that defines it is unchanged, whatever became of the steps that
were inlined into it. So the cache lies in a folder named after the content of all these packages: after an upgrade
nothing of the former version is found. NUMBA_CACHE_DIR moves the parent of that folder.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("baselines/stats", "anomalies/detection")


def _fingerprint() -> str:
    """Names the content of the packages that are compiled together."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted(Path(_ROOT, package).glob("*.py")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def cache_directory() -> Path:
    """Where compiled loops of this very version are kept: below NUMBA_CACHE_DIR, else var/, else the temp folder."""
    if configured := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(configured, _fingerprint())
    own = _ROOT / "var" / "numba"
    try:
        own.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir(), f"llm-sentinel-numba-{os.getuid()}", _fingerprint())
    return own / _fingerprint()


numba.config.CACHE_DIR = str(cache_directory())  # type: ignore[attr-defined]  # made at run time


def _compiler(**options: bool) -> Callable[[_Function], _Function]:
    """A decorator with numba's options; `_nrt`, its run-time for counted references, is not in its signature.

    Nobody calls a loop from C; without the wrappers for that a first start compiles a twentieth less.
    """
    options |= {"cache": True, "no_cfunc_wrapper": True}
    return cast("Callable[[_Function], _Function]", njit(error_model="numpy", **options))  # type: ignore[call-overload]


compiled = _compiler(_nrt=True)
lean = _compiler(_nrt=False)
inlined = _compiler(_nrt=False, forceinline=True)
