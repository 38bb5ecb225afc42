"""Events and detections as InfluxDB line protocol, one line per row.

Two points of one table with the same tags and time overwrite each other, so the time carries the Kafka offset:
whole milliseconds of the event, then the offset modulo a million as nanoseconds. The true time is a field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote
from uuid import UUID

import msgspec

from ingestion.formats.event import Event
from ingestion.formats.identity import event_id
from ingestion.telemetry_store.contract import TelemetryBatch, nanoseconds

TELEMETRY_TAGS = ("service", "model", "source")
TELEMETRY_FLOATS = ("latency_ms", "cost_usd", "ttft_ms", "quality_score")
TELEMETRY_INTEGERS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
TELEMETRY_TEXTS = ("cost_source", "finish_reason", "provider", "trace_id", "span_id", "user_id", "session_id")
TELEMETRY_JSON = ("errors", "metadata")
TELEMETRY_FIELDS = {
    **dict.fromkeys(TELEMETRY_FLOATS, "float64"),
    **dict.fromkeys(TELEMETRY_INTEGERS, "int64"),
    **dict.fromkeys(TELEMETRY_TEXTS, "utf8"),
    **dict.fromkeys(TELEMETRY_JSON, "utf8"),
    "error": "bool",
    "event_id": "utf8",
    "event_time_ns": "int64",
}
DETECTION_TAGS = ("service", "model", "metric", "detector", "severity", "source")
DETECTION_FLOATS = ("value", "expected", "lower", "upper", "score")
DETECTION_FIELDS = {**dict.fromkeys(DETECTION_FLOATS, "float64"), "event_id": "utf8", "anomaly_id": "utf8"}

_MILLISECOND = 1_000_000
_KNOWN_SERIES_AT_MOST = 100_000

# Control characters, and what else some reader takes for the end of a line. Parsers disagree on what a backslash in
# a tag means (two of them are one, or two, or an error at the end), so no tag holds one.
_UNWRITABLE = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
_TAG_ESCAPES = {code: quote(chr(code)) for code in _UNWRITABLE} | {
    ord("\\"): "%5C",
    ord("%"): "%25",
    ord(","): "\\,",
    ord("="): "\\=",
    ord(" "): "\\ ",
}
_TAG_VALUES = {code: text for code, text in _TAG_ESCAPES.items() if not text.startswith("\\")}
_FIELD_ESCAPES = dict.fromkeys(_UNWRITABLE, "\ufffd") | {ord("\\"): "\\\\", ord('"'): '\\"'}

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


def whole(text: str) -> str:
    """The text with lone surrogates, which no encoding can write, replaced by question marks."""
    return text.encode("utf-8", "replace").decode()


def tag_value(text: str) -> str:
    """What a tag holds for this text: control characters, backslash and percent sign are percent-encoded.

    Different texts have different tag values, so no service can pass for another one.
    """
    return whole(text).translate(_TAG_VALUES)


def from_tag_value(value: str) -> str:
    """The inverse of `tag_value`."""
    return unquote(value) if "%" in value else value


def escape_tag(text: str) -> str:
    """A tag's value as it stands in a line: `tag_value`, with comma, equals sign and space escaped."""
    return whole(text).translate(_TAG_ESCAPES)


def escape_field(text: str) -> str:
    """A text field as it stands between its quotes; control characters become U+FFFD."""
    return whole(text).translate(_FIELD_ESCAPES) if _needs_escapes(text) else text


def _needs_escapes(text: str) -> bool:
    return not text.isprintable() or '"' in text or "\\" in text


def point_time(event_time_ns: int, offset: int) -> int:
    """The time of a point: the event's time floored to the millisecond, plus the offset modulo a million."""
    return event_time_ns - event_time_ns % _MILLISECOND + offset % _MILLISECOND


def _tags(table: str, tags: Iterable[tuple[str, str]]) -> str:
    # Line protocol knows no empty tag value: such a tag is left out.
    return table + "".join(f",{name}={escape_tag(value)}" for name, value in tags if value)


def _float(number: str) -> str:
    # 120 and 1e16 are floats to InfluxDB, but integers to others who read line protocol.
    if "." in number or number == "null":
        return number
    return number.replace("e", ".0e") if "e" in number else number + ".0"


class _Column(NamedTuple):
    """One field of all events: what to print of each (printf-style), and the values for it."""

    template: str
    values: Iterable[Any]


_ABSENT = _Column("", ())


def _integers(name: str, values: tuple[Any, ...]) -> _Column:
    unknown = values.count(None)
    if unknown == len(values):
        return _ABSENT
    if not unknown:
        return _Column(f",{name}=%di", values)
    return _Column("%s", ["" if value is None else f",{name}={value}i" for value in values])


def _floats(name: str, values: tuple[Any, ...]) -> _Column:
    if values.count(None) == len(values):
        return _ABSENT
    text = _encode(values).decode()[1:-1]  # one call for the column; what is not finite is written as null
    numbers = text.split(",")
    if text.count(".") < len(numbers):
        numbers = [_float(number) for number in numbers]
    if "null" not in numbers:
        return _Column(f",{name}=%s", numbers)
    return _Column("%s", ["" if number == "null" else f",{name}={number}" for number in numbers])


def _texts(name: str, values: tuple[Any, ...]) -> _Column:
    together = "".join(values)
    if not together:
        return _ABSENT
    if _needs_escapes(together):  # nearly never
        values = tuple(escape_field(value) for value in values)
    if "" not in values:
        return _Column(f',{name}="%s"', values)
    return _Column("%s", [f',{name}="{value}"' if value else "" for value in values])


def _jsons(name: str, values: tuple[Any, ...]) -> _Column:
    if not any(values):
        return _ABSENT
    texts = _encode_lines(values).decode().replace("\\", "\\\\").replace('"', '\\"').split("\n")
    return _Column("%s", [f',{name}="{text}"' if value else "" for value, text in zip(values, texts, strict=False)])


_KINDS: dict[str, Callable[[str, tuple[Any, ...]], _Column]] = {
    **dict.fromkeys(TELEMETRY_FLOATS, _floats),
    **dict.fromkeys(TELEMETRY_INTEGERS, _integers),
    **dict.fromkeys(TELEMETRY_TEXTS, _texts),
    **dict.fromkeys(TELEMETRY_JSON, _jsons),
}
_POSITIONS = [(name, Event.__struct_fields__.index(name), kind) for name, kind in _KINDS.items()]


class TelemetryLines:
    """Writes batches of events as lines of the table `telemetry`; remembers the escaped tags of every series."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str, str, bool], str] = {}

    def encode(self, batch: TelemetryBatch) -> bytes:
        """One line per event, in order, joined by newlines. There are no others, so row n is line n."""
        columns = [column for column in self._columns(batch) if column is not _ABSENT]
        template = "".join(column.template for column in columns)
        rows = zip(*(column.values for column in columns), strict=True)
        return "\n".join(map(template.__mod__, rows)).encode()

    def _columns(self, batch: TelemetryBatch) -> Iterator[_Column]:
        attributes = list(zip(*map(msgspec.structs.astuple, batch.events), strict=True))
        yield _Column("%s", self._series(batch))
        for name, position, kind in _POSITIONS:
            yield kind(name, attributes[position])
        yield _texts("event_id", identities(batch))
        times = [event.timestamp_ns for event in batch.events]
        yield _Column(",event_time_ns=%di", times)
        yield _Column(" %d", map(point_time, times, batch.offsets))

    def _series(self, batch: TelemetryBatch) -> list[str]:
        """Table, tags, and the one field that every event has."""
        source = f"{batch.topic}/{batch.partition}"
        keys = [(source, event.service, event.model, event.error) for event in batch.events]
        if len(self._heads) > _KNOWN_SERIES_AT_MOST:
            self._heads.clear()
        for key in set(keys) - self._heads.keys():
            self._remember(*key)
        return [self._heads[key] for key in keys]

    def _remember(self, source: str, service: str, model: str, error: bool) -> None:
        tags = _tags("telemetry", zip(TELEMETRY_TAGS, (service, model, source), strict=True))
        self._heads[source, service, model, error] = f"{tags} error={'true' if error else 'false'}"


def identities(batch: TelemetryBatch) -> tuple[str, ...]:
    """The ids of the events, made up where they came without one."""
    return tuple(
        event.event_id or event_id(batch.topic_id, batch.partition, offset)
        for event, offset in zip(batch.events, batch.offsets, strict=True)
    )


def detection_line(detection: dict[str, Any]) -> bytes:
    """One message of the detections topic as a line of the table `detections`.

    Raises KeyError, TypeError or ValueError for a message that is not one.
    """
    source = f"{UUID(detection['topic_id'])}/{int(detection['partition'])}"
    prefix = _tags("detections", ((name, str((detection | {"source": source})[name])) for name in DETECTION_TAGS))
    fields = [
        f"{name}={_float(repr(float(detection[name])))}"
        for name in DETECTION_FLOATS
        if detection.get(name) is not None and math.isfinite(detection[name])
    ]
    fields.append(f'anomaly_id="{UUID(detection["anomaly_id"])}"')
    if identity := detection.get("event_id"):
        fields.append(f'event_id="{escape_field(identity)}"')
    time_ns = point_time(nanoseconds(datetime.fromisoformat(detection["timestamp"])), int(detection["offset"]))
    return f"{prefix} {','.join(fields)} {time_ns}".encode()
