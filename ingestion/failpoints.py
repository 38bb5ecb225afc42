"""Named places at which a test may kill the process, as if the machine had lost power there.

`SENTINEL_FAILPOINT=postgres:3` ends the process with SIGKILL when it reaches "postgres" for the third time. Without
the variable a failpoint costs one comparison.
"""

from __future__ import annotations

import os
import signal

NAMES = ("decode", "score", "produce", "postgres", "redis", "commit", "write")

_name, _, _count = os.environ.get("SENTINEL_FAILPOINT", "").partition(":")
if _name and _name not in NAMES:
    raise ValueError(f"SENTINEL_FAILPOINT names {_name!r}; there are {', '.join(NAMES)}")
_left = int(_count or 1)


def reach(name: str) -> None:
    """Pass the failpoint `name`, or die there."""
    global _left  # noqa: PLW0603  the whole point is one countdown for the process
    if name == _name:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
