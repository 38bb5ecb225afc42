"""Protobuf requests in which a text is not UTF-8: one such text makes protobuf refuse the whole request.

Some senders put raw bytes into attributes. The request is parsed again with descriptors in which every text is bytes,
which the wire format does not distinguish; then each item is parsed strictly by itself, and only the bad are refused.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError, Message

from ingestion.formats import validation
from ingestion.formats.otlp.altered import altered
from ingestion.formats.validation import Rejection

TEXT = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES


def salvaged(kind: type[Message], levels: tuple[str, str, str], payload: bytes, refused: list[Rejection]) -> Any | None:
    """The request without the items that strict parsing refuses; None if it is broken beyond its texts."""
    resources, scopes, items = levels
    try:
        lenient: Any = _lenient(kind).FromString(payload)  # type: ignore[arg-type]
    except DecodeError:
        return None
    request: Any = kind()
    for group in getattr(lenient, resources):
        kept = getattr(request, resources).add()
        all_items = [item for scope in getattr(group, scopes) for item in getattr(scope, items)]
        if not _read(kept.resource, group.resource):
            refused.extend(_bad_text() for _ in all_items)
            continue
        room = getattr(getattr(kept, scopes).add(), items)
        for item in all_items:
            if not _read(room.add(), item):
                del room[-1]
                refused.append(_bad_text())
    return request


def _read(target: Message, source: Message) -> bool:
    try:
        target.ParseFromString(source.SerializeToString())
    except DecodeError:
        return False
    return True


def _bad_text() -> Rejection:
    return Rejection(validation.INVALID_TEXT, "", "holds bytes that are not UTF-8")


@cache
def _lenient(kind: type[Message]) -> type[Message]:
    """The class of a message in whose fields, at any depth, texts are bytes."""
    return altered(kind, _loosen)


def _loosen(message: Any) -> None:
    for each in message.field:
        if each.type == TEXT:
            each.type = BYTES
