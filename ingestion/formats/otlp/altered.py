"""Protobuf classes that read the same bytes as OTLP's own, with some of the fields declared otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

Change = Callable[[Any], None]


def altered(kind: type[Message], change: Change) -> type[Message]:
    """The class of a message that is declared as `change` leaves it; it is given every message of every file needed,
    inner ones included, as a `DescriptorProto`."""
    pool = descriptor_pool.DescriptorPool()
    _add(kind.DESCRIPTOR.file, pool, change, set())
    found: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName(kind.DESCRIPTOR.full_name))
    return found


def _add(file: FileDescriptor, pool: descriptor_pool.DescriptorPool, change: Change, done: set[str]) -> None:
    if file.name in done:
        return
    done.add(file.name)
    for needed in file.dependencies:
        _add(needed, pool, change, done)
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        _change(message, change)
    pool.AddSerializedFile(copy.SerializeToString())


def _change(message: Any, change: Change) -> None:
    change(message)
    for inner in message.nested_type:
        _change(inner, change)
