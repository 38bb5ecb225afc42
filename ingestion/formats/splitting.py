"""Bodies with several JSON events taken apart: an array or lines, without reading what is in them.

Only brackets and texts are looked at, so that what an element holds can neither cost memory nor spoil another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

BLANK = b" \t\r\n"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_DEPTH = 1000
"""Brackets within brackets; decoders refuse far fewer."""


def _up_to(signs: bytes) -> Callable[[bytes, int], re.Match[bytes] | None]:
    """Matches what lies before the next of the signs that is in no text."""
    rest, text = rb'[^"%s]*+' % signs, rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
    return re.compile(rest + rb"(?:" + text + rest + rb")*+", re.DOTALL).match


_within = _up_to(rb"\[\]{}")
_between = _up_to(rb"\[\]{},")


def split_events(body: bytes, *, is_lines: bool = False) -> Iterator[bytes]:
    """The text of each event of a body: the elements of an array, the lines of NDJSON, else the one value.

    Lines are recognised where the first is an object by itself; `is_lines` takes them for granted, so that a bad first
    one spoils nothing. Raises ValueError where an array does not end as it should, RecursionError.
    """
    text = body.removeprefix(BYTE_ORDER_MARK).strip(BLANK)
    if is_lines or _has_lines(text):
        return (line for line in map(_stripped, text.splitlines()) if line)
    return _elements(text) if text.startswith(b"[") else iter((text,))


def _stripped(line: bytes) -> bytes:
    return line.strip(BLANK)


def _has_lines(text: bytes) -> bool:
    first, _, rest = text.partition(b"\n")
    return first.startswith(b"{") and first.rstrip(BLANK).endswith(b"}") and rest.lstrip(BLANK).startswith(b"{")


def _elements(text: bytes) -> Iterator[bytes]:
    place, is_first = 1, True
    while True:
        end = _end(text, place)
        element, sign = text[place:end].strip(BLANK), text[end : end + 1]
        is_last = sign == b"]"
        if element:
            yield element
        elif not (is_first and is_last):
            raise ValueError(f"the array lacks an element (byte {end})")
        if is_last:
            break
        place, is_first = end + 1, False
    if end + 1 != len(text):
        raise ValueError(f"there is more after the array (byte {end + 1})")


def _end(text: bytes, place: int) -> int:
    """The place of the comma or bracket that ends the element which begins at `place`."""
    depth = 0
    while True:
        place = (_within if depth else _between)(text, place).end()  # type: ignore[union-attr]  # it matches nothing too
        sign = text[place : place + 1]
        if sign in (b"{", b"["):
            depth += 1
        elif sign not in (b"}", b"]", b","):
            raise ValueError(f"the array does not end as it should (byte {place})")
        elif depth == 0:
            if sign == b"}":
                raise ValueError(f"a bracket closes what was not opened (byte {place})")
            return place
        else:
            depth -= 1
        if depth > MAX_DEPTH:
            raise RecursionError
        place += 1
