"""Attributes of spans as protobuf encodes them: what recurs is looked up, everything else parsed by itself.

Most attributes of a service's spans are the same ones again and again (operation, provider, model, small counts). So
spans are read by a class to which an attribute is bytes, and the parser of attributes sees each of these bytes once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from ingestion.formats import validation
from ingestion.formats.otlp.altered import altered
from ingestion.formats.otlp.attributes import Wanted
from ingestion.formats.validation import Rejection

BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
MOST_REMEMBERED = 20_000
MOST_NOTED = 2_000
LONGEST_REMEMBERED = 256  # bytes


class Reading(NamedTuple):
    """What a wanted attribute says: the field, how new its name is (0 the newest), the value or why it is none."""

    field: str
    rank: int
    value: Any


UNREAD = Reading("", 0, None)


class EncodedAttributes:
    """Reads attributes that have a place. Threads may share it."""

    def __init__(self, places: Wanted) -> None:
        self._places = places
        self._known: dict[bytes, Reading | None] = {}
        self._unwanted: set[bytes] = set()  # seen once

    def collect(self, attributes: Iterable[bytes]) -> dict[str, Any]:
        """As `attributes.collect`. Rejects also what cannot be parsed, wanted or not."""
        found: dict[str, Any] = {}
        ranks: dict[str, int] = {}  # without those that are 0
        known = self._known.get
        for attribute in attributes:
            reading = known(attribute, UNREAD)
            if reading is UNREAD:
                reading = self._read(attribute)
                if reading is not None and isinstance(reading.value, Rejection):
                    if reading.field not in found or reading.rank < ranks.get(reading.field, 0):
                        raise reading.value
                    continue
            if reading is None:
                continue
            field, rank, value = reading
            if field not in found or rank < ranks.get(field, 0):
                found[field] = value
                if rank:
                    ranks[field] = rank
                else:
                    ranks.pop(field, None)
        return found

    def _read(self, attribute: bytes) -> Reading | None:
        """None for what has no place or holds nothing."""
        try:
            parsed = KeyValue.FromString(attribute)
        except DecodeError:
            raise Rejection(validation.INVALID_TEXT, "", "holds bytes that are not UTF-8") from None
        key = parsed.key
        place = self._places.get(key)
        if place is None:
            if attribute in self._unwanted:
                self._remember(attribute, None)
            elif len(attribute) <= LONGEST_REMEMBERED:
                self._note_unwanted(attribute)
            return None
        try:
            value = place.read(parsed.value)
        except Rejection as rejection:
            return Reading(place.field, place.rank, Rejection(rejection.code, key, rejection.detail))
        reading = None if value is None else Reading(place.field, place.rank, value)
        self._remember(attribute, reading)
        return reading

    def _note_unwanted(self, attribute: bytes) -> None:
        """Only the second time it is worth remembering: many are ids, which never come again."""
        if len(self._unwanted) >= MOST_NOTED:
            self._unwanted.clear()
        self._unwanted.add(attribute)

    def _remember(self, attribute: bytes, reading: Reading | None) -> None:
        if len(attribute) <= LONGEST_REMEMBERED:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()  # begin again: what recurs is soon back
            self._known[attribute] = reading


def _leave_encoded(message: Any) -> None:
    for each in message.field:
        if (message.name, each.name) == ("Span", "attributes"):
            each.type = BYTES
            each.ClearField("type_name")


EncodedSpans = altered(ExportTraceServiceRequest, _leave_encoded)
"""A request with spans whose attributes are left as bytes."""
