"""Telemetry in tables of the relational database: PostgreSQL by COPY, any other by INSERT OR IGNORE."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import psycopg
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    models,
    transaction,
)
from django.db.models import Q

from baselines.api.pages import decode_cursor, encode_cursor
from baselines.stats.sketch import BUCKETS, LOG_GAMMA, LOW, SKETCHED
from ingestion.formats.event import Event
from ingestion.models import Detection, TelemetryEvent
from ingestion.telemetry_store.contract import (
    BadCursor,
    Page,
    StoreUnavailable,
    Summary,
    SummaryQuery,
    Tally,
    TelemetryBatch,
    TelemetryQuery,
    WriteRefused,
    moment,
    nanoseconds,
)
from ingestion.telemetry_store.line_protocol import identities, whole
from ingestion.telemetry_store.salvage import BatchRefused, write_salvaging

_LATENCY = SKETCHED.index("latency_ms")
_CHUNK = 10_000
_ROW = (
    *("event_id", "timestamp", "service", "model", "latency_ms"),
    *("prompt_tokens", "completion_tokens", "total_tokens", "cost_usd", "cost_source", "error", "errors", "ttft_ms"),
    *("finish_reason", "user_id", "session_id", "trace_id", "span_id", "metadata"),
)
_NUMBERS = (
    *("latency_ms", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens"),
    *("cost_usd", "ttft_ms", "quality_score"),
)
_TEXTS = (
    *("service", "model", "cost_source", "finish_reason", "provider"),
    *("user_id", "session_id", "trace_id", "span_id"),
)
_DETECTION_ROW = (
    *("timestamp", "service", "model", "metric", "detector", "severity"),
    *("value", "expected", "lower", "upper", "score", "event_id"),
)
_MEASURES = ("value", "expected", "lower", "upper", "score")
_LABELS = ("service", "model", "metric", "direction", "detector", "severity")

_encode_lines = msgspec.json.Encoder().encode_lines

# The database is out of reach, busy or takes no writes (InternalError: a standby); the rows may be fine. psycopg's own
# come out of COPY untranslated.
_UNREACHABLE = (
    *(OperationalError, InterfaceError, InternalError),
    *(psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError),
)
# The rows do not fit: too long, out of range, not to be encoded.
_UNFIT = (DatabaseError, psycopg.Error, OverflowError, UnicodeError, ValueError)


class _Table(NamedTuple):
    """A table and those of its columns that are written, in order."""

    name: str
    columns: tuple[str, ...]
    model: type[models.Model]

    @classmethod
    def of(cls, model: type[models.Model]) -> _Table:
        columns = [column.column for column in model._meta.concrete_fields if not column.primary_key]
        return cls(model._meta.db_table, tuple(columns), model)

    def texts(self, column: str, values: Sequence[str]) -> Sequence[str]:
        """Texts as the column takes them: cut to its length, without what PostgreSQL cannot hold."""
        longest = self.model._meta.get_field(column).max_length
        if max(map(len, values), default=0) > longest or not "".join(values).isprintable():
            return [whole(value).replace("\0", "\ufffd")[:longest] for value in values]
        return values

    def text(self, column: str, value: str) -> str:
        return self.texts(column, [value])[0]


_TELEMETRY = _Table.of(TelemetryEvent)
_DETECTIONS = _Table.of(Detection)


class DatabaseStore:
    """A telemetry store in Django's database; each thread uses its own connection, as Django has it."""

    def __init__(self, storage: Any = None, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using

    def write_telemetry(self, batch: TelemetryBatch) -> list[WriteRefused]:
        rows = _event_rows(batch) if batch.events else []
        return self._write(_TELEMETRY, rows)

    def write_detections(self, detections: Sequence[dict[str, Any]]) -> list[WriteRefused]:
        rows: dict[int, list[Any]] = {}
        refused = []
        for index, detection in enumerate(detections):
            try:
                rows[index] = _detection_values(detection)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                refused.append(WriteRefused(index, f"not a detection: {error!r}"))
        positions = list(rows)
        for index, reason in self._write(_DETECTIONS, list(rows.values())):
            refused.append(WriteRefused(positions[index], reason))
        return sorted(refused)

    def telemetry(self, query: TelemetryQuery) -> Page:
        events = _selected(TelemetryEvent.objects.using(self._using), query)
        if query.cursor:
            timestamp, row_id = _decode_cursor(query.cursor)
            events = events.filter(Q(timestamp__lt=timestamp) | Q(timestamp=timestamp, id__lt=row_id))
        with self._reached():
            found = list(events.order_by("-timestamp", "-id").values(*_ROW, "id")[: query.limit + 1])
        page = found[: query.limit]
        following = _encode_cursor(page[-1]) if len(found) > query.limit else None
        return Page([{name: row[name] for name in _ROW} for row in page], following)

    def summary(self, query: SummaryQuery) -> Summary:
        result: Summary = defaultdict(Tally)
        events = _selected(TelemetryEvent.objects.using(self._using), query)
        with self._reached():
            rows = iter(events.values_list("timestamp", "error", "cost_usd", "latency_ms").iterator(_CHUNK))
            while chunk := list(islice(rows, _CHUNK)):
                for start, tally in _tallies(chunk, query.seconds):
                    result[start].add(tally)
        return dict(result)

    def detections(self, anomaly_id: UUID, start: datetime, end: datetime, limit: int = 100) -> list[dict[str, Any]]:
        found = Detection.objects.using(self._using).filter(
            anomaly_id=anomaly_id, timestamp__gte=start, timestamp__lte=end
        )
        with self._reached():
            return list(found.order_by("-timestamp", "metric", "-id").values(*_DETECTION_ROW)[:limit])

    def ping(self) -> None:
        with self._reached(), connections[self._using].cursor() as cursor:
            cursor.execute("SELECT 1")

    def close(self) -> None:
        """Nothing is held here: connections are Django's, one per thread, and go with the request or thread."""

    def _write(self, table: _Table, rows: Sequence[Sequence[Any]]) -> list[WriteRefused]:
        insert = _copy if connections[self._using].vendor == "postgresql" else _insert_or_ignore
        return write_salvaging(rows, lambda part: self._store(insert, table, part))

    def _store(self, insert: _Insert, table: _Table, rows: Sequence[Sequence[Any]]) -> None:
        try:
            with self._reached(), transaction.atomic(self._using):
                insert(connections[self._using], table, rows)
        except _UNFIT as error:
            raise BatchRefused(f"{type(error).__name__}: {error}".strip()) from error

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn the failures that are nobody's fault into StoreUnavailable, and drop the broken connection."""
        connection = connections[self._using]
        try:
            yield
        except _UNREACHABLE as error:
            if not connection.in_atomic_block:
                connection.close()
            raise StoreUnavailable(f"the database does not work: {error}") from error


_Insert = Callable[[Any, _Table, Sequence[Sequence[Any]]], None]


def _copy(connection: Any, table: _Table, rows: Sequence[Sequence[Any]]) -> None:
    """COPY; where rows turn out to be there already, once more by way of a temporary table."""
    columns = ", ".join(f'"{column}"' for column in table.columns)
    with connection.cursor() as cursor:
        try:
            with transaction.atomic(connection.alias):
                _copy_into(cursor, table.name, columns, rows)
        except psycopg.errors.UniqueViolation:
            _copy_what_is_new(cursor, table.name, columns, rows)


def _copy_into(cursor: Any, name: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    with cursor.copy(f'COPY "{name}" ({columns}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row(row)


def _copy_what_is_new(cursor: Any, name: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    incoming = f"incoming_{name}"
    cursor.execute(
        f'CREATE TEMPORARY TABLE IF NOT EXISTS "{incoming}" ON COMMIT DELETE ROWS AS'  # noqa: S608 - all names are ours
        f' SELECT {columns} FROM "{name}" WITH NO DATA'
    )
    _copy_into(cursor, incoming, columns, rows)
    cursor.execute(
        f'INSERT INTO "{name}" ({columns}) SELECT {columns} FROM "{incoming}" ON CONFLICT DO NOTHING'  # noqa: S608
    )


def _insert_or_ignore(connection: Any, table: _Table, rows: Sequence[Sequence[Any]]) -> None:
    columns = ", ".join(f'"{column}"' for column in table.columns)
    values = ", ".join(["%s"] * len(table.columns))
    # DO NOTHING leaves out rows that are there already, as INSERT OR IGNORE does, but not rows that are wrong.
    sql = f'INSERT INTO "{table.name}" ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING'  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(sql, [[_for_sqlite(value) for value in row] for row in rows])


def _for_sqlite(value: Any) -> Any:
    """A value as Django itself would write it."""
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return str(value.replace(tzinfo=None))
    return value


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _jsons(values: Sequence[Any]) -> list[str]:
    text = _encode_lines(values).decode()
    # PostgreSQL's JSON holds no NUL.
    return text.replace("\\u0000", "\ufffd").split("\n")[: len(values)]


def _event_rows(batch: TelemetryBatch) -> list[tuple[Any, ...]]:
    """The rows of a batch, made column by column."""
    count = len(batch.events)
    attributes = zip(
        Event.__struct_fields__, zip(*map(msgspec.structs.astuple, batch.events), strict=True), strict=True
    )
    columns: dict[str, Any] = dict(attributes)
    columns["topic_id"] = [batch.topic_id] * count
    columns["partition"] = [batch.partition] * count
    columns["offset"] = batch.offsets
    columns["timestamp"] = [moment(time_ns) for time_ns in columns["timestamp_ns"]]
    columns["event_id"] = identities(batch)
    for name in _NUMBERS:
        columns[name] = [_number(value) for value in columns[name]]
    for name in ("event_id", *_TEXTS):
        columns[name] = _TELEMETRY.texts(name, columns[name])
    for name in ("errors", "metadata"):
        columns[name] = _jsons(columns[name])
    return list(zip(*(columns[name] for name in _TELEMETRY.columns), strict=True))


def _detection_values(detection: dict[str, Any]) -> list[Any]:
    text = _DETECTIONS.text
    values: dict[str, Any] = {
        "topic_id": UUID(detection["topic_id"]),
        "partition": int(detection["partition"]),
        "offset": int(detection["offset"]),
        "timestamp": datetime.fromisoformat(detection["timestamp"]),
        "event_id": text("event_id", detection.get("event_id") or ""),
        "anomaly_id": UUID(detection["anomaly_id"]),
        **{name: _number(detection.get(name)) for name in _MEASURES},
        **{name: text(name, str(detection[name])) for name in _LABELS},
    }
    return [values[column] for column in _DETECTIONS.columns]


def _selected(events: Any, query: TelemetryQuery | SummaryQuery) -> Any:
    # Whole milliseconds, as every store has it.
    start = moment(nanoseconds(query.start) // 1_000_000 * 1_000_000)
    end = moment(-(-nanoseconds(query.end) // 1_000_000) * 1_000_000)
    events = events.filter(timestamp__gte=start, timestamp__lt=end)
    if query.services is not None:
        events = events.filter(service__in=query.services)
    if query.model is not None:
        events = events.filter(model=query.model)
    return events


def _tallies(
    rows: list[tuple[datetime, bool, float | None, float | None]], seconds: int
) -> Iterator[tuple[int, Tally]]:
    times, errors, costs, latencies = zip(*rows, strict=True)
    starts = np.array([int(time.timestamp()) for time in times]) // seconds * seconds
    failed = np.array(errors, bool)
    cost = np.array(costs, float)
    buckets = _buckets(np.array(latencies, float))
    for start in np.unique(starts):
        here = starts == start
        timed = buckets[here & ~failed]
        yield (
            int(start),
            Tally(
                count=int(here.sum()),
                errors=int((here & failed).sum()),
                cost=float(np.nansum(cost[here])),
                latencies=np.bincount(timed[timed >= 0], minlength=BUCKETS).astype(np.uint64),
            ),
        )


def _buckets(latencies: np.ndarray) -> np.ndarray:
    """The bucket of the latency sketch of each value; -1 where it is not known (NaN)."""
    known = np.isfinite(latencies)
    above = np.maximum(np.where(known, latencies, 1.0) / LOW[_LATENCY], 1.0)
    buckets = np.minimum(np.ceil(np.log(above) / LOG_GAMMA[_LATENCY]), BUCKETS - 1).astype(np.int64)
    return np.where(known, buckets, -1)


def _encode_cursor(row: dict[str, Any]) -> str:
    return encode_cursor([nanoseconds(row["timestamp"]), row["id"]])


def _decode_cursor(text: str) -> tuple[datetime, int]:
    try:
        time_ns, row_id = decode_cursor(text, tuple[int, int])
        return moment(time_ns), row_id
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise BadCursor("is not a cursor of this list") from error
