"""RFC 3339 timestamps to and from nanoseconds since 1970, without losing the nanoseconds that `datetime` drops."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SEVENTH_DIGIT = 26  # its place in "2024-11-06T10:25:00.123456789Z"
FINE = re.compile(r"(.{20}\d{6})(\d+)(.*)", re.ASCII)

_convert = msgspec.convert  # checks the grammar of RFC 3339 strictly, in C


def unix_nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 timestamp; a naive time is UTC; digits beyond the ninth are cut.

    Raises ValueError for anything else.
    """
    nanoseconds = 0
    if len(text) > SEVENTH_DIGIT + 1 and text[SEVENTH_DIGIT] in "0123456789":
        text, nanoseconds = _split_fine(text)
    moment = _convert(text, datetime)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Not `// timedelta(microseconds=1)` and not timestamp(): this is faster than the one and, unlike the other, exact.
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000 + nanoseconds


def _split_fine(text: str) -> tuple[str, int]:
    """The timestamp to the microsecond, and the nanoseconds (0 to 999) beyond it."""
    match = FINE.fullmatch(text)
    if match is None:
        return text, 0
    return match[1] + match[3], int(match[2][:3].ljust(3, "0"))


def rfc3339(nanoseconds: int) -> str:
    """The UTC timestamp of nanoseconds since 1970, with 3, 6 or 9 digits of fraction: as few as hold it."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    whole = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    if fraction % 1000:
        return f"{whole}.{fraction:09d}Z"
    return f"{whole}.{fraction // 1000:06d}Z" if fraction % 1_000_000 else f"{whole}.{fraction // 1_000_000:03d}Z"
