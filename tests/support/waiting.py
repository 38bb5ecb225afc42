"""Wait for a condition instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def eventually(
    check: Callable[[], Result], *, deadline: float = 10.0, interval: float = 0.02, message: str | None = None
) -> Result:
    """Call `check` until it returns something truthy, and return that.

    An exception counts as "not yet". The check runs at least once, and once more at the deadline.

    Args:
        check: the condition; cheap enough to be called every `interval` seconds.
        deadline: seconds from now.
        interval: seconds between two calls.
        message: what was awaited, for the failure.

    Raises:
        AssertionError: nothing truthy came in time; names the last value or exception.
    """
    end = time.monotonic() + deadline
    while True:
        last = time.monotonic() >= end
        error: Exception | None = None
        try:
            value = check()
        except Exception as raised:  # noqa: BLE001 (whatever a check that is not ready yet may raise)
            error, outcome = raised, f"raised {type(raised).__name__}: {raised}"
        else:
            if value:
                return value
            outcome = f"returned {value!r}"
        if last:
            awaited = message or getattr(check, "__qualname__", repr(check))
            raise AssertionError(f"not within {deadline:g} s: {awaited}; the last call {outcome}") from error
        time.sleep(min(interval, max(0.0, end - time.monotonic())))
