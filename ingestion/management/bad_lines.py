"""Telling of the lines of a recording that cannot be used."""

from __future__ import annotations

from typing import Protocol

from ingestion.recordings import RecordingError

SHOWN = 20


class Out(Protocol):
    def write(self, text: str) -> object: ...


class BadLines:
    """Says the first SHOWN bad lines with their number and reason, and counts the others; strict, it stops at one."""

    def __init__(self, out: Out, *, is_strict: bool = False) -> None:
        self.count = 0
        self._out = out
        self._is_strict = is_strict

    def __call__(self, line: int, reason: str) -> None:
        self.count += 1
        if self._is_strict:
            raise RecordingError(f"line {line}: {reason}")
        if self.count <= SHOWN:
            self._out.write(f"line {line} skipped: {reason}")
        if self.count == SHOWN:
            self._out.write("further bad lines are counted only")
