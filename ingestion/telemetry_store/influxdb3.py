"""Telemetry in InfluxDB 3: line protocol over HTTP in, SQL over Flight out."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from influxdb_client_3 import InfluxDBClient3, WriteOptions
from influxdb_client_3.exceptions import InfluxDB3ClientQueryError, InfluxDBError
from influxdb_client_3.write_client.client.write_api import WriteType
from isal import igzip
from urllib3.exceptions import HTTPError

from ingestion.telemetry_store import influxdb3_sql as sql
from ingestion.telemetry_store.contract import (
    Page,
    StoreUnavailable,
    Summary,
    SummaryQuery,
    Tally,
    TelemetryBatch,
    TelemetryQuery,
    UserTally,
    WriteRefused,
    nanoseconds,
)
from ingestion.telemetry_store.line_protocol import (
    DETECTION_FIELDS,
    DETECTION_TAGS,
    TELEMETRY_FIELDS,
    TELEMETRY_TAGS,
    TelemetryLines,
    detection_line,
)
from ingestion.telemetry_store.salvage import BatchRefused, write_salvaging

log = structlog.get_logger(__name__)

_REFUSED = frozenset({400, 413})
_EXISTS = 409
_COMPRESS_FROM = 1024
# How far ahead of this machine's clock rows are looked for: far more than `max_future_seconds` lets in.
_AHEAD = timedelta(days=3)


class InfluxStore:
    """A telemetry store in two databases of one InfluxDB 3 server.

    The databases are made with their retention before the first use, because InfluxDB 3 Core sets it at creation
    only, and the tables with all their columns, because a column that was never written cannot be asked for.
    """

    def __init__(self, storage: Any) -> None:
        """`storage` is the section of the configuration (sentinel_site.config.storage.StorageConfig)."""
        self._config = storage.influxdb
        self._retention = storage.retention
        self._lines = TelemetryLines()
        self._prepared = False

    def write_telemetry(self, batch: TelemetryBatch) -> list[WriteRefused]:
        if not batch.events:
            return []
        return self._write(self._config.telemetry_database, self._lines.encode(batch).split(b"\n"))

    def write_detections(self, detections: Sequence[dict[str, Any]]) -> list[WriteRefused]:
        lines: dict[int, bytes] = {}
        refused = []
        for index, detection in enumerate(detections):
            try:
                lines[index] = detection_line(detection)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                refused.append(WriteRefused(index, f"not a detection: {error!r}"))
        positions = list(lines)
        for index, reason in self._write(self._config.detections_database, list(lines.values())):
            refused.append(WriteRefused(positions[index], reason))
        return sorted(refused)

    def telemetry(self, query: TelemetryQuery) -> Page:
        cursor = sql.Cursor.decode(query.cursor) if query.cursor else None
        start, end = self._kept(query.start, query.end, self._retention.telemetry)
        if cursor is not None:
            end = min(end, cursor.time_ns + 1)
        rows: list[dict[str, Any]] = []
        for begin, until in sql.pieces(start, end):
            missing = query.limit + 1 - len(rows)  # one more than asked tells whether there is a next page
            rows += self._ask(self._config.telemetry_database, sql.telemetry(query, begin, until, cursor, missing))
            if len(rows) > query.limit:
                break
        page = rows[: query.limit]
        following = sql.cursor_of(page[-1]).encode() if len(rows) > query.limit else None
        return Page([sql.telemetry_row(row) for row in page], following)

    def summary(self, query: SummaryQuery) -> Summary:
        result: Summary = {}
        for start, end in sql.pieces(*self._kept(query.start, query.end, self._retention.telemetry)):
            for row in self._ask(self._config.telemetry_database, sql.summary(query, start, end)):
                result.setdefault(row["start"], Tally()).add(sql.tally(row))
        return result

    def users(self, start: datetime, end: datetime, limit: int) -> list[UserTally]:
        kept = self._kept(start, end, self._retention.telemetry)
        if kept[0] >= kept[1]:
            return []
        return [sql.user_tally(row) for row in self._ask(self._config.telemetry_database, sql.users(*kept, limit))]

    def detections(self, anomaly_id: UUID, start: datetime, end: datetime, limit: int = 100) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        start_ns, end_ns = self._kept(start, end + timedelta(milliseconds=1), self._retention.detections)
        for begin, until in sql.pieces(start_ns, end_ns):
            statement = sql.detections(anomaly_id, begin, until, limit - len(rows))
            rows += self._ask(self._config.detections_database, statement)
            if len(rows) >= limit:
                break
        return [sql.detection_row(row) for row in rows]

    def ping(self) -> None:
        self._request("GET", "/ping")

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()
            del self._client

    @functools.cached_property
    def _client(self) -> InfluxDBClient3:
        # Made at first use: a gRPC channel does not survive the fork of a worker.
        token = self._config.token.get_secret_value() if self._config.token else ""
        milliseconds = int(self._config.timeout_secs * 1000)
        options = WriteOptions(
            write_type=WriteType.synchronous,
            use_v2_api=False,
            accept_partial=False,
            max_retries=0,
            timeout=milliseconds,
        )
        return InfluxDBClient3(
            host=self._config.url,
            org=self._config.org,
            database=self._config.telemetry_database,
            token=token,
            write_client_options={"write_options": options},
            query_timeout=milliseconds,
        )

    @staticmethod
    def _kept(start: datetime, end: datetime, days: int) -> tuple[int, int]:
        """The part of [start, end) in which there can be rows, in nanoseconds; empty where there can be none.

        It is read in pieces, and ten years would be a thousand of them. This also holds where a database was made
        with a longer retention than is set now.
        """
        now = datetime.now(UTC)
        return _milliseconds(max(start, now - timedelta(days=days)), min(end, now + _AHEAD))

    def _write(self, database: str, lines: list[bytes]) -> list[WriteRefused]:
        if not lines:
            return []
        self._prepare()
        return write_salvaging(lines, lambda part: self._send(database, b"\n".join(part), len(part)))

    def _send(self, database: str, body: bytes, lines: int) -> None:
        headers = {}
        if len(body) >= _COMPRESS_FROM:
            body, headers = igzip.compress(body, 1), {"content_encoding": "gzip"}
        try:
            self._client.write(record=body, database=database, **headers)
        except InfluxDBError as error:
            raise _write_failure(error, lines) from error
        except HTTPError as error:
            raise StoreUnavailable(f"InfluxDB does not answer: {error}") from error

    def _ask(self, database: str, statement: sql.Statement) -> list[dict[str, Any]]:
        self._prepare()
        try:
            table = self._client.query(statement.sql, database=database, query_parameters=statement.parameters)
        except InfluxDB3ClientQueryError as error:
            raise StoreUnavailable(f"InfluxDB refuses to answer: {error}") from error
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def _prepare(self) -> None:
        if self._prepared:
            return
        for database, days, table, tags, fields in self._schema():
            if not self._create("database", {"db": database, "retention_period": f"{days}d"}):
                log.info("influxdb_database_found", database=database, retention="as it was made; cannot be changed")
            columns = [{"name": name, "type": kind} for name, kind in fields.items()]
            self._create("table", {"db": database, "table": table, "tags": tags, "fields": columns})
        self._prepared = True

    def _schema(self) -> Iterator[tuple[str, int, str, tuple[str, ...], dict[str, str]]]:
        config, days = self._config, self._retention
        yield config.telemetry_database, days.telemetry, "telemetry", TELEMETRY_TAGS, TELEMETRY_FIELDS
        yield config.detections_database, days.detections, "detections", DETECTION_TAGS, DETECTION_FIELDS

    def _create(self, kind: str, definition: dict[str, Any]) -> bool:
        """Whether it was made now; False if it was there."""
        return self._request("POST", f"/api/v3/configure/{kind}", definition, fine=frozenset({_EXISTS}))

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, fine: frozenset[int] = frozenset()
    ) -> bool:
        """Whether it was done; False where the answer was one of `fine`. Raises StoreUnavailable for any other."""
        client = self._client
        try:
            client.rest_client.request(
                method,
                path,
                headers=client.default_header | {"Content-Type": "application/json"},
                body=msgspec.json.encode(body) if body else None,
                timeout=self._config.timeout_secs,
            )
        except InfluxDBError as error:
            if _status(error) not in fine:
                raise _unavailable(error) from error
            return False
        except HTTPError as error:
            raise StoreUnavailable(f"InfluxDB does not answer: {error}") from error
        return True


def _milliseconds(start: datetime, end: datetime) -> tuple[int, int]:
    """[start, end) in nanoseconds, widened to whole milliseconds: within one, points stand by offset."""
    end_ns = nanoseconds(end)
    return nanoseconds(start) // 1_000_000 * 1_000_000, -(-end_ns // 1_000_000) * 1_000_000


def _status(error: InfluxDBError) -> int | None:
    return getattr(error.response, "status", None)


def _unavailable(error: InfluxDBError) -> StoreUnavailable:
    status = _status(error)
    log.warning("influxdb_unavailable", status=status, reason=error.message)
    return StoreUnavailable(f"InfluxDB answers {status}: {error.message}", _seconds(error.retry_after))


def _write_failure(error: InfluxDBError, lines: int) -> Exception:
    """BatchRefused where the lines are at fault, else StoreUnavailable: a bad token condemns no event."""
    if _status(error) not in _REFUSED:
        return _unavailable(error)
    numbers = _line_numbers(error.response.data)
    suspects = [number - 1 for number in numbers if 0 < number <= lines]
    blames_rows = bool(numbers) or _status(error) != 400
    return BatchRefused(error.message, suspects, blames_rows=blames_rows)


def _line_numbers(body: str | bytes) -> list[int]:
    """The lines, from 1, that an answer complains about; its wording varies between versions, its `data` less."""
    try:
        data = msgspec.json.decode(body)["data"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return []
    items = data if isinstance(data, list) else [data]
    numbers = [item.get("line_number") for item in items if isinstance(item, dict)]
    return [number for number in numbers if isinstance(number, int)]


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header, which is a number of seconds or a date, as seconds from now."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
