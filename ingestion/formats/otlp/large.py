"""Large protobuf requests, read an item at a time: all at once, small messages would take ninety times their size.

Only the three levels that lead to an item are walked here; what is in it is parsed by its protobuf class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from ingestion.formats import validation
from ingestion.formats.otlp.faults import Allowance, Unreadable
from ingestion.formats.validation import Rejection

MOST_ITEM_BYTES = 1 << 20
LARGE_FIELD_BYTES = 1 << 16
MOST_FIELDS = 50_000
"""Fields at the top of one item of more than MOST_ITEM_BYTES."""
DISPENSABLE = ("attributes", "events", "body")
"""What is left out of such an item where it is large: texts of prompts and answers."""
# In each of OTLP's levels the first field is what the others are about, the second what is in it.
ABOUT, WITHIN, TOP = 1, 2, 1
VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5


class Field(NamedTuple):
    """A field of a message: its number and kind, where it begins, where its content does, and where it ends."""

    number: int
    kind: int
    begin: int
    start: int
    end: int


Classes = tuple[type[Message], type[Message], type[Message]]


@cache
def _classes(kind: type[Message], levels: tuple[str, str, str]) -> Classes:
    """The classes of resource, scope and item."""
    resources, scopes, items = levels
    group = kind.DESCRIPTOR.fields_by_name[resources].message_type
    scope = group.fields_by_name[scopes].message_type
    found: Any = (group.fields_by_name["resource"], scope.fields_by_name["scope"], scope.fields_by_name[items])
    return tuple(message_factory.GetMessageClass(each.message_type) for each in found)  # type: ignore[return-value]


def walked(
    kind: type[Message], levels: tuple[str, str, str], payload: bytes, most: int, refused: list[Rejection]
) -> Iterator[tuple[Any, Any, Iterator[Any]]]:
    """Resources and scopes of a request with their items; items that cannot be read go to `refused`.

    Raises Unreadable, also where there are more than `most` parts.
    """
    (resource_class, scope_class, item_class) = _classes(kind, levels)  # type: ignore[arg-type]
    allowance = Allowance.of(most)
    for group in _sized(_counted(payload, 0, len(payload), allowance), TOP):
        resource, scopes = _level(resource_class, payload, group, allowance)
        for each in scopes:
            scope, items = _level(scope_class, payload, each, allowance)
            if fault := next((about for about in (resource, scope) if isinstance(about, Rejection)), None):
                refused.extend(fault for _ in items)
            else:
                yield resource, scope, _read(item_class, payload, items, refused)


def _level(
    kind: type[Message], payload: bytes, level: Field, allowance: Allowance
) -> tuple[Message | Rejection, list[Field]]:
    """What a level is about, or why that cannot be read; and what is in it. Raises Unreadable."""
    fields = list(_counted(payload, level.start, level.end, allowance))
    return _about(kind, payload, list(_sized(fields, ABOUT))), list(_sized(fields, WITHIN))


def _about(kind: type[Message], payload: bytes, fields: list[Field]) -> Message | Rejection:
    """Of several the last counts, as protobuf has it."""
    found = payload[fields[-1].start : fields[-1].end] if fields else b""
    if len(found) > MOST_ITEM_BYTES:
        return Rejection(validation.OUT_OF_RANGE, kind.DESCRIPTOR.name, f"has more than {MOST_ITEM_BYTES} bytes")
    try:
        return _parsed(kind, found)
    except Rejection as rejection:
        return rejection.kept()


def _read(kind: type[Message], payload: bytes, items: list[Field], refused: list[Rejection]) -> Iterator[Message]:
    for field in items:
        try:
            yield _item(kind, payload[field.start : field.end])
        except Rejection as rejection:
            refused.append(rejection.kept())


def _item(kind: type[Message], content: bytes) -> Message:
    """Raises Rejection."""
    if len(content) > MOST_ITEM_BYTES:
        content = _thinned(kind, content)
    return _parsed(kind, content)


def _parsed(kind: type[Message], content: bytes) -> Message:
    """Raises Rejection."""
    try:
        return kind.FromString(content)
    except DecodeError:
        raise Rejection(validation.INVALID_TEXT, "", "cannot be read, or holds bytes that are not UTF-8") from None


def _thinned(kind: type[Message], content: bytes) -> bytes:
    """An item without its large texts. Raises Rejection where it is too large without them too."""
    by_number, kept, size = kind.DESCRIPTOR.fields_by_number, [], 0
    for place, field in enumerate(_fields(content, 0, len(content))):
        name = by_number[field.number].name if field.number in by_number else ""
        if name in DISPENSABLE and field.end - field.begin > LARGE_FIELD_BYTES:
            continue
        kept.append(content[field.begin : field.end])
        size += len(kept[-1])
        if size > MOST_ITEM_BYTES or place >= MOST_FIELDS:
            raise Rejection(validation.OUT_OF_RANGE, "", f"must not have more than {MOST_ITEM_BYTES} bytes")
    return b"".join(kept)


def _sized(fields: Iterable[Field], number: int) -> Iterator[Field]:
    """Those of a number that hold a message."""
    return (field for field in fields if field.number == number and field.kind == SIZED)


def _counted(data: bytes, place: int, end: int, allowance: Allowance) -> Iterator[Field]:
    """Fields of a level; unknown ones cost time too. Raises Unreadable."""
    for field in _fields(data, place, end):
        allowance.take()
        yield field


def _fields(data: bytes, place: int, end: int) -> Iterator[Field]:
    """The fields of the message that lies between two places. Raises Unreadable."""
    while place < end:
        begin = place
        tag, place = _varint(data, place, end)
        kind, start = tag & 7, place
        if kind == SIZED:
            size, start = _varint(data, place, end)
            place = start + size
        elif kind == VARINT:
            _, place = _varint(data, place, end)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            place += 8 if kind == EIGHT_BYTES else 4
        else:
            raise Unreadable(f"The body is broken: byte {begin} begins no field.")
        if place > end:
            raise Unreadable(f"The body is broken: the field at byte {begin} is cut short.")
        yield Field(tag >> 3, kind, begin, start, place)


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """A number and the place behind it. Raises Unreadable."""
    found = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, place
        shift += 7
    raise Unreadable(f"The body is broken: the number at byte {place} does not end.")
