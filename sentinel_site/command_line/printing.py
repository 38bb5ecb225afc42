"""Tables for people and JSON for programs, into a terminal, a file or a pipe that somebody closes."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

import msgspec

GAP = "  "


def printable(text: object) -> str:
    """Text as it may go to a terminal: what would move the cursor or turn the writing around is shown by its code."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in str(text))


def width(text: str) -> int:
    """Columns that text takes in a terminal: none for a combining mark, two for a wide character."""
    marks = sum(1 for each in text if unicodedata.combining(each))
    return len(text) - marks + sum(1 for each in text if unicodedata.east_asian_width(each) in "WF")


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Lines with columns as wide as their widest value."""
    shown = [list(headers), *([printable(value) for value in row] for row in rows)]
    widths = [max(map(width, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (value + " " * (wide - width(value)) for value, wide in zip(row, widths, strict=True))
        yield GAP.join(cells).rstrip()


def as_json(value: Any) -> str:
    """One line of JSON; times as RFC 3339."""
    return msgspec.json.encode(value).decode()


class Lines:
    """Where lines go. A reader that has seen enough (`| head`) ends the writing, not the command."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.is_closed = False

    def write(self, line: str) -> None:
        """Write a line and let it be seen at once; a closed pipe is remembered in `is_closed`."""
        if self.is_closed:
            return
        try:
            self._out.write(f"{line}\n")
            self._out.flush()
        except BrokenPipeError:
            self.is_closed = True
            _swallow_the_rest()


def _swallow_the_rest() -> None:
    """Python flushes standard output once more at its end, and would complain of the pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
