"""Bodies with several JSON events taken apart: an array or lines, without reading what is in them.

Only brackets and texts are looked at, so that what an element holds can neither cost memory nor spoil another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

BLANK = b" \t\r\n"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_DEPTH = 1000
"""Brackets within brackets; decoders refuse far fewer."""


# What lies before the next of some signs that is in no text.
_UP_TO = rb"""[^"%(signs)s]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"%(signs)s]*+)*+"""
_within = re.compile(_UP_TO % {b"signs": rb"\[\]{}"}, re.DOTALL).match
_between = re.compile(_UP_TO % {b"signs": rb"\[\]{},"}, re.DOTALL).match


# Up to and with the next sign that a value begins or follows; a text that does not end takes all the rest.
_values = re.compile(_UP_TO % {b"signs": rb"\[{,"} + rb'(?:[\[{,]|"(?s:.*)|\Z)', re.DOTALL).finditer


def has_more_values(text: bytes, most: int) -> bool:
    """Whether a JSON text holds more than about so many values: brackets that open and commas, outside of its texts."""
    return next(islice(_values(text), most, None), None) is not None


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
