"""Dimensions of events: by what an anomaly may be told apart from ordinary traffic.

In the columns of a batch a value is a code of 32 bits (`code`), the same on every machine; 0 where there is none.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

DIMENSIONS: tuple[str, ...] = ("user", "region", "prompt_version", "finish_reason")
USER, REGION, PROMPT_VERSION, FINISH = range(len(DIMENSIONS))


class Sample(NamedTuple):
    """What people see of one event: its trace, and its value of each of DIMENSIONS ("" where it has none)."""

    trace_id: str
    values: tuple[str, ...]


def code(value: str) -> int:
    """The code of a value: its CRC-32, and never 0 for a value that is there."""
    return crc32(value.encode()) or 1 if value else 0
