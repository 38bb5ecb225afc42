"""Telemetry in tables of the relational database: PostgreSQL by COPY, any other by INSERT OR IGNORE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any
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
    transaction,
)
from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce

from baselines.api.pages import decode_cursor, encode_cursor
from baselines.stats.sketch import BUCKETS, LOG_GAMMA, LOW, SKETCHED
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
    UserTally,
    WriteRefused,
    moment,
    nanoseconds,
)
from ingestion.telemetry_store.rows import (
    DETECTIONS,
    TELEMETRY,
    Columns,
    DetectionRow,
    Table,
    detection_columns,
    telemetry_columns,
)
from ingestion.telemetry_store.salvage import BatchRefused, write_salvaging

_LATENCY = SKETCHED.index("latency_ms")
_CHUNK = 10_000
_ROW = (
    *("event_id", "timestamp", "service", "model", "latency_ms"),
    *("prompt_tokens", "completion_tokens", "total_tokens", "cost_usd", "cost_source", "error", "errors", "ttft_ms"),
    *("finish_reason", "user_id", "session_id", "trace_id", "span_id", "metadata"),
)
_DETECTION_ROW = (
    *("timestamp", "service", "model", "metric", "detector", "severity"),
    *("value", "expected", "lower", "upper", "score", "event_id"),
)
_USER_ROW = ("service", "model", "user_id", "calls", "cost", "tokens", "unpriced")
# The database is out of reach, busy or takes no writes (InternalError: a standby); the rows may be fine. psycopg's own
# come out of COPY untranslated.
_UNREACHABLE = (
    *(OperationalError, InterfaceError, InternalError),
    *(psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError),
)
# The rows do not fit: too long, out of range, not to be encoded.
_UNFIT = (DatabaseError, psycopg.Error, OverflowError, UnicodeError, ValueError)


class DatabaseStore:
    """A telemetry store in Django's database; each thread uses its own connection, as Django has it."""

    def __init__(self, storage: Any = None, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using

    def write_telemetry(self, batch: TelemetryBatch) -> list[WriteRefused]:
        return self._write(TELEMETRY, telemetry_columns(batch)) if batch.events else []

    def write_detections(self, detections: Sequence[dict[str, Any]]) -> list[WriteRefused]:
        rows: dict[int, DetectionRow] = {}
        refused = []
        for index, detection in enumerate(detections):
            try:
                rows[index] = msgspec.convert(detection, DetectionRow)
            except msgspec.ValidationError as error:
                refused.append(WriteRefused(index, f"not a detection: {error}"))
        positions = list(rows)
        written = self._write(DETECTIONS, detection_columns(list(rows.values()))) if rows else []
        return sorted([*refused, *(WriteRefused(positions[index], reason) for index, reason in written)])

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

    def users(self, start: datetime, end: datetime, limit: int) -> list[UserTally]:
        events = TelemetryEvent.objects.using(self._using).filter(timestamp__gte=start, timestamp__lt=end, error=False)
        of_users = events.exclude(user_id="").order_by().values("service", "model", "user_id")
        sums = of_users.annotate(
            calls=Count("id"),
            cost=Coalesce(Sum("cost_usd"), 0.0),
            tokens=Coalesce(Sum("total_tokens"), 0),
            unpriced=Coalesce(Sum("total_tokens", filter=Q(cost_usd=None)), 0),
        ).order_by("-cost", "-tokens", "user_id", "service", "model")
        with self._reached():
            return [UserTally(*row) for row in sums.values_list(*_USER_ROW)[:limit]]

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

    def _write(self, table: Table, columns: Columns) -> list[WriteRefused]:
        connection = connections[self._using]
        if connection.vendor == "postgresql":
            lines = table.copy_lines(columns)
            return write_salvaging(lines, lambda part: self._store(_copy, table, part))
        return write_salvaging(table.rows(columns), lambda part: self._store(_insert_or_ignore, table, part))

    def _store(self, insert: Callable[[Any, Table, Any], None], table: Table, rows: Any) -> None:
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


def _copy(connection: Any, table: Table, lines: Sequence[str]) -> None:
    """COPY; where rows turn out to be there already, once more by way of a temporary table."""
    data = "\n".join([*lines, ""]).encode()
    with connection.cursor() as cursor:
        try:
            with transaction.atomic(connection.alias):
                _copy_into(cursor, table.name, table.column_list, data)
        except psycopg.errors.UniqueViolation:
            _copy_what_is_new(cursor, table.name, table.column_list, data)


def _copy_into(cursor: Any, name: str, columns: str, data: bytes) -> None:
    with cursor.copy(f'COPY "{name}" ({columns}) FROM STDIN') as copy:
        copy.write(data)


def _copy_what_is_new(cursor: Any, name: str, columns: str, data: bytes) -> None:
    incoming = f"incoming_{name}"
    cursor.execute(
        f'CREATE TEMPORARY TABLE IF NOT EXISTS "{incoming}" ON COMMIT DELETE ROWS AS'  # noqa: S608 - all names are ours
        f' SELECT {columns} FROM "{name}" WITH NO DATA'
    )
    _copy_into(cursor, incoming, columns, data)
    cursor.execute(
        f'INSERT INTO "{name}" ({columns}) SELECT {columns} FROM "{incoming}" ON CONFLICT DO NOTHING'  # noqa: S608
    )


def _insert_or_ignore(connection: Any, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    values = ", ".join(["%s"] * len(table.columns))
    # DO NOTHING leaves out rows that are there already, as INSERT OR IGNORE does, but not rows that are wrong.
    sql = f'INSERT INTO "{table.name}" ({table.column_list}) VALUES ({values}) ON CONFLICT DO NOTHING'  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


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
