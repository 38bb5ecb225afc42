"""Events and detections as rows of the relational tables, made column by column; what a column cannot hold is cut."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import models

from ingestion.formats.event import Event
from ingestion.models import Detection, TelemetryEvent
from ingestion.telemetry_store import copy_text
from ingestion.telemetry_store.contract import TelemetryBatch, nanoseconds
from ingestion.telemetry_store.line_protocol import identities, whole

Columns = Mapping[str, Sequence[Any]]
"""Values by the name of their column: times in nanoseconds since 1970, JSON as text, all else as it is in Python."""

_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # and not a backslash followed by "u0000"

_encode_lines = msgspec.json.Encoder().encode_lines


class Table(NamedTuple):
    """A table and those of its columns that are written, in order, with the kind of their field."""

    name: str
    columns: dict[str, type[models.Field]]  # type: ignore[type-arg]
    lengths: dict[str, int]
    """The most characters that each text column takes."""

    @classmethod
    def of(cls, model: type[models.Model]) -> Table:
        fields = [field for field in model._meta.concrete_fields if not field.primary_key]
        lengths = {field.column: field.max_length for field in fields if type(field) is models.CharField}
        return cls(model._meta.db_table, {field.column: type(field) for field in fields}, lengths)  # type: ignore[arg-type]

    @property
    def column_list(self) -> str:
        """As it stands in SQL."""
        return ", ".join(f'"{column}"' for column in self.columns)

    def copy_lines(self, columns: Columns) -> list[str]:
        """Rows for PostgreSQL's COPY."""
        return copy_text.lines(self._written(columns, _COPIED))

    def rows(self, columns: Columns) -> list[tuple[Any, ...]]:
        """Rows for INSERT, of values as Django itself gives them to SQLite."""
        return list(zip(*self._written(columns, _INSERTED), strict=True))

    def _written(self, columns: Columns, writers: Mapping[Any, Callable[[Any], Iterable[Any]]]) -> list[Iterable[Any]]:
        return [writers[kind](self._fitting(name, columns[name])) for name, kind in self.columns.items()]

    def _fitting(self, column: str, values: Sequence[Any]) -> Sequence[Any]:
        """Texts as the column takes them: cut to its length, without what PostgreSQL cannot hold."""
        longest = self.lengths.get(column)
        if longest is None or not (together := "".join(values)):
            return values
        if max(map(len, values)) > longest or not together.isprintable():
            return [whole(value).replace("\0", "\ufffd")[:longest] for value in values]
        return values


def _finite(values: Sequence[float | None]) -> list[float | None]:
    return [value if value is not None and math.isfinite(value) else None for value in values]


_NUMBERS = (models.FloatField, models.IntegerField, models.BigIntegerField, models.BooleanField)
_COPIED: dict[type, Callable[[Any], Iterable[str]]] = {
    **dict.fromkeys(_NUMBERS, copy_text.numbers),
    models.CharField: copy_text.texts,
    models.JSONField: copy_text.jsons,
    models.UUIDField: copy_text.uuids,
    models.DateTimeField: copy_text.moments,
}
_INSERTED: dict[type, Callable[[Any], Iterable[Any]]] = {
    **dict.fromkeys(_NUMBERS, _finite),
    models.CharField: iter,
    models.JSONField: iter,
    models.UUIDField: lambda values: [value.hex for value in values],
    models.DateTimeField: lambda values: map(str, copy_text.datetimes(values)),
}

TELEMETRY = Table.of(TelemetryEvent)
DETECTIONS = Table.of(Detection)


def telemetry_columns(batch: TelemetryBatch) -> Columns:
    """The columns of a batch that has events."""
    count = len(batch.events)
    values = zip(*map(msgspec.structs.astuple, batch.events), strict=True)
    columns: dict[str, Any] = dict(zip(Event.__struct_fields__, values, strict=True))
    columns["topic_id"] = [batch.topic_id] * count
    columns["partition"] = [batch.partition] * count
    columns["offset"] = list(batch.offsets)
    columns["timestamp"] = columns["timestamp_ns"]
    columns["event_id"] = identities(batch)
    for name in ("errors", "metadata"):
        columns[name] = json_texts(columns[name])
    return columns


def json_texts(values: Sequence[Any]) -> list[str]:
    text = _encode_lines(values).decode()
    if "\\u0000" in text:  # PostgreSQL's JSON holds no NUL
        text = _ESCAPED_NUL.sub("\\1\ufffd", text)
    return text.split("\n")[: len(values)]


class DetectionRow(msgspec.Struct, gc=False):
    """What is kept of a message of the detections topic."""

    topic_id: UUID
    partition: int
    offset: int
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    service: str
    model: str
    metric: str
    direction: str
    detector: str
    severity: str
    value: float
    score: float
    anomaly_id: UUID
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    event_id: str | None = None


def detection_columns(rows: Sequence[DetectionRow]) -> Columns:
    """The columns of at least one detection."""
    values = zip(*map(msgspec.structs.astuple, rows), strict=True)
    columns: dict[str, Any] = dict(zip(DetectionRow.__struct_fields__, values, strict=True))
    columns["timestamp"] = [nanoseconds(moment) for moment in columns["timestamp"]]
    columns["event_id"] = [name or "" for name in columns["event_id"]]
    return columns
