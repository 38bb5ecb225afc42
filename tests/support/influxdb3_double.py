"""InfluxDB 3 Core as far as LLM-Sentinel uses it: line protocol and configuration over HTTP, SQL over Flight.

One port serves both, as the real server's does. What the real one refuses is refused with the same status and the
same shape of answer: lines that do not parse, columns that change their type, tokens and databases that are not
known, a sixth database. Points of one table with the same tags and time overwrite each other. Everything is kept in
memory, also while the double is stopped.

    python -m tests.support.influxdb3_double --port 8181 --token secret
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
from datafusion import SessionContext
from line_protocol_parser import LineFormatError, parse_line
from pyarrow import flight

from tests.support.one_port import OnePort

MAX_BODY = 10 * 1024 * 1024
MAX_DATABASES = 5
TYPES = {"int64": pa.int64(), "float64": pa.float64(), "utf8": pa.string(), "bool": pa.bool_(), "tag": pa.string()}
COLUMN_NAMES = {
    "tag": "iox::column_type::tag",
    "int64": "iox::column_type::field::integer",
    "float64": "iox::column_type::field::float",
    "utf8": "iox::column_type::field::string",
    "bool": "iox::column_type::field::boolean",
}
_FIELD_TYPES = {bool: "bool", int: "int64", float: "float64", str: "utf8"}
_PRECISIONS = {"nanosecond": 1, "microsecond": 1_000, "millisecond": 1_000_000, "second": 1_000_000_000}
# Tags, in which quotes mean nothing, then fields; a quote that is never closed takes all that follows.
_LINE = re.compile(r'(?:\\.?|[^ \\\n])*(?: (?:\\.?|"(?:\\.|[^"\\])*"|[^"\\\n])*(?:".*)?)?', re.DOTALL)
_DURATION = re.compile(r"\d+(h|d|w|mo|y)")

Fault = Literal["", "500", "503", "timeout", "slow", "partial"]


class Refused(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, error: str, data: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error} | ({"data": data} if data is not None else {})
        self.headers = headers or {}


class BadLine(Exception):
    """A line that cannot be stored."""


@dataclass
class Table:
    """Columns with their final types, and points by tags and time."""

    columns: dict[str, str] = field(default_factory=dict)
    points: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)

    def arrow(self) -> pa.Table:
        schema = [pa.field(name, TYPES[kind]) for name, kind in self.columns.items()]
        schema.append(pa.field("time", pa.timestamp("ns")))
        return pa.Table.from_pylist(list(self.points.values()), schema=pa.schema(schema))


@dataclass
class Database:
    retention: str | None = None
    tables: dict[str, Table] = field(default_factory=dict)


def split_lines(text: str) -> list[str]:
    """Lines of line protocol: a newline inside a quoted string does not end one, nor does an escaped one."""
    return [line for line in _LINE.findall(text) if line.strip()]


def parse_point(line: str, multiplier: int) -> tuple[str, dict[str, str], dict[str, Any], int]:
    """Table, tags, fields and time (ns) of a line, or BadLine."""
    try:
        point = parse_line(line)
    except LineFormatError as error:
        raise BadLine(str(error)) from error
    if any(value.endswith("\\") for value in point["tags"].values()):
        raise BadLine("Measurements, tag keys and values, and field keys may not end with a backslash")
    moment = point["time"]
    time_ns = time.time_ns() if moment is None else moment * multiplier
    return point["measurement"], point["tags"], point["fields"], time_ns


class Catalogue:
    """What the server holds."""

    def __init__(self) -> None:
        self.databases: dict[str, Database] = {}
        self._lock = threading.RLock()

    def create_database(self, name: str, retention: str | None) -> None:
        with self._lock:
            if name in self.databases:
                raise Refused(409, "attempted to create a resource that already exists")
            if retention is not None and not _DURATION.fullmatch(retention):
                raise Refused(400, f"invalid retention period: {retention}")
            self._add(name).retention = retention

    def create_table(self, database: str, name: str, tags: list[str], fields: list[dict[str, str]]) -> None:
        with self._lock:
            if database not in self.databases:
                raise Refused(404, f"the requested resource was not found: {database}")
            tables = self.databases[database].tables
            if name in tables:
                raise Refused(409, "attempted to create a resource that already exists")
            columns = dict.fromkeys(tags, "tag") | {column["name"]: column["type"] for column in fields}
            if unknown := set(columns.values()) - TYPES.keys():
                raise Refused(400, f"serde error: unknown variant {sorted(unknown)}")
            tables[name] = Table(columns)

    def _add(self, name: str) -> Database:
        if len(self.databases) >= MAX_DATABASES:
            raise Refused(422, f"Adding a new database would exceed limit of {MAX_DATABASES} databases")
        return self.databases.setdefault(name, Database())

    def write(self, database: str, text: str, multiplier: int, accept_partial: bool) -> None:
        """Store the lines; without `accept_partial` all of them or, from the first bad one on, none."""
        with self._lock:
            tables = (self.databases.get(database) or self._add(database)).tables
            errors = self._store(tables, text, multiplier, keep=accept_partial)
            if errors and accept_partial:
                raise Refused(400, "partial write of line protocol occurred", errors)
            if errors:
                raise Refused(400, "parsing failed for write_lp endpoint", errors[0])

    def _store(self, tables: dict[str, Table], text: str, multiplier: int, keep: bool) -> list[dict[str, Any]]:
        errors: list[dict[str, Any]] = []
        new_columns: dict[str, dict[str, str]] = {}
        accepted = []
        for number, line in enumerate(split_lines(text), 1):
            try:
                table, tags, fields, time_ns = parse_point(line, multiplier)
                kinds = dict.fromkeys(tags, "tag") | {name: _FIELD_TYPES[type(v)] for name, v in fields.items()}
                known = tables.get(table, Table()).columns | new_columns.get(table, {})
                _check_types(known, kinds)
            except BadLine as error:
                errors.append({"original_line": line, "line_number": number, "error_message": str(error)})
                continue
            new_columns.setdefault(table, {}).update({k: v for k, v in kinds.items() if k not in known})
            accepted.append((table, tags, fields, time_ns))
        if keep or not errors:
            self._keep(tables, new_columns, accepted)
        return errors

    @staticmethod
    def _keep(tables: dict[str, Table], columns: dict[str, dict[str, str]], points: list[Any]) -> None:
        for table, new in columns.items():
            tables.setdefault(table, Table()).columns.update(new)
        for table, tags, fields, time_ns in points:
            key = (*sorted(tags.items()), time_ns)
            tables[table].points.setdefault(key, {}).update(tags | fields | {"time": time_ns})

    def query(self, database: str, sql: str, parameters: dict[str, Any]) -> pa.RecordBatchReader:
        with self._lock:
            if database not in self.databases:
                raise KeyError(f"database not found: {database}")
            context = SessionContext()
            for name, table in self.databases[database].tables.items():
                batches = table.arrow().to_batches() or [pa.RecordBatch.from_pylist([], table.arrow().schema)]
                context.register_record_batches(name, [batches])
        return pa.RecordBatchReader.from_stream(context.sql(sql, param_values=parameters))


def _check_types(known: dict[str, str], kinds: dict[str, str]) -> None:
    for name, kind in kinds.items():
        expected = known.get(name, kind)
        if expected != kind:
            raise BadLine(
                f"invalid column type for column '{name}', expected {COLUMN_NAMES[expected]}, got {COLUMN_NAMES[kind]}"
            )


class InfluxDouble:
    """The double. `fault` makes it fail until it is set back."""

    def __init__(self, token: str = "test-token", port: int = 0) -> None:
        self.token = token
        self.catalogue = Catalogue()
        self.fault: Fault = ""
        self.slow_seconds = 0.2
        self.retry_after: str | None = None
        self.last_write: dict[str, Any] = {}
        self.last_encoding = ""
        self._port = port
        self._released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen; after `stop` on the same port, with the same data."""
        self._released.clear()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _http_interface(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self._flight = _FlightInterface(self)
        self._front = OnePort(self._port, http=self._http.server_port, grpc=self._flight.port)
        self._port = self._front.port

    def stop(self) -> None:
        """Stop listening and drop every connection."""
        self._released.set()
        self._front.close()
        self._http.shutdown()
        self._http.server_close()
        self._flight.shutdown()

    def __enter__(self) -> InfluxDouble:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextlib.contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Fail in one way for the length of a block."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = ""
            self._released.set()
            self._released = threading.Event()

    def clear(self) -> None:
        """Forget every database."""
        self.catalogue = Catalogue()

    def points(self, database: str, table: str) -> list[dict[str, Any]]:
        """What a table holds, for tests that look behind the interface."""
        known = self.catalogue.databases.get(database, Database()).tables.get(table, Table())
        return list(known.points.values())

    def suffer(self) -> None:
        """Whatever the fault does before a request is looked at."""
        if self.fault == "slow":
            self._released.wait(self.slow_seconds)
        if self.fault == "timeout":
            self._released.wait()
        if self.fault in ("500", "503", "timeout"):
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            raise Refused(503 if self.fault == "503" else 500, "the server is in trouble", headers=headers)

    def check(self, authorization: str) -> None:
        if authorization not in (f"Token {self.token}", f"Bearer {self.token}"):
            raise Refused(401, "the request was not authenticated")

    def write(self, parameters: dict[str, str], body: bytes) -> None:
        """Handle /api/v3/write_lp."""
        self.last_write = parameters
        if len(body) > MAX_BODY:
            raise Refused(413, "body too large")
        multiplier = _PRECISIONS.get(parameters.get("precision", "nanosecond"))
        if "db" not in parameters or multiplier is None:
            raise Refused(400, "serde error: invalid query parameters")
        accept_partial = parameters.get("accept_partial", "true") != "false"
        text = body.decode()
        if self.fault == "partial":
            lines = split_lines(text)
            self.catalogue.write(parameters["db"], "\n".join(lines[: len(lines) // 2]), multiplier, accept_partial)
            raise Refused(500, "the write buffer was interrupted")
        self.catalogue.write(parameters["db"], text, multiplier, accept_partial)


def _http_interface(double: InfluxDouble) -> type[BaseHTTPRequestHandler]:
    class HttpInterface(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(self._get)

        def do_POST(self) -> None:
            self._answer(self._post)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

        def _answer(self, act: Any) -> None:
            try:
                body = self._body()
                double.suffer()
                double.check(self.headers.get("Authorization", ""))
                self._reply(*act(urlsplit(self.path), body))
            except Refused as refused:
                self._reply(refused.status, refused.body, refused.headers)

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            double.last_encoding = self.headers.get("Content-Encoding", "")
            return gzip.decompress(body) if double.last_encoding == "gzip" else body

        def _get(self, url: Any, _: bytes) -> tuple[int, Any]:
            if url.path == "/ping":
                return 200, {"version": "3.5.0", "revision": "double", "process_id": "0"}
            if url.path == "/health":
                return 200, "OK"
            raise Refused(404, "not found")

        def _post(self, url: Any, body: bytes) -> tuple[int, Any]:
            if url.path == "/api/v3/write_lp":
                double.write({name: values[-1] for name, values in parse_qs(url.query).items()}, body)
                return 204, None
            definition = json.loads(body)
            if url.path == "/api/v3/configure/database":
                double.catalogue.create_database(definition["db"], definition.get("retention_period"))
            elif url.path == "/api/v3/configure/table":
                names = ("db", "table", "tags", "fields")
                double.catalogue.create_table(*(definition[name] for name in names))
            else:
                raise Refused(404, "not found")
            return 200, None

        def _reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            content = b"" if body is None else json.dumps(body).encode()
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

    return HttpInterface


class _Authorization(flight.ServerMiddlewareFactory):
    """Hands the authorization header of a call on."""

    def start_call(self, info: Any, headers: dict[str, list[str]]) -> _Header:
        return _Header(next(iter(headers.get("authorization", [""]))))


class _Header(flight.ServerMiddleware):
    def __init__(self, value: str) -> None:
        self.value = value


class _FlightInterface(flight.FlightServerBase):
    def __init__(self, double: InfluxDouble) -> None:
        super().__init__("grpc+tcp://127.0.0.1:0", middleware={"authorization": _Authorization()})
        self._double = double

    def do_get(self, context: Any, ticket: flight.Ticket) -> flight.RecordBatchStream:
        try:
            self._double.suffer()
            self._double.check(context.get_middleware("authorization").value)
        except Refused as refused:
            kind = flight.FlightUnauthenticatedError if refused.status == 401 else flight.FlightInternalError
            raise kind(str(refused)) from refused
        asked = json.loads(ticket.ticket)
        if asked["query_type"] != "sql":
            raise pa.ArrowInvalid("only SQL is spoken here")
        try:
            reader = self._double.catalogue.query(asked["database"], asked["sql_query"], asked.get("params") or {})
            return flight.RecordBatchStream(reader.read_all())
        except KeyError:
            raise
        except Exception as error:
            raise pa.ArrowInvalid(f"Error while planning query: {error}") from error


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="A stand-in for InfluxDB 3 Core; keeps its data in memory.")
    parser.add_argument("--port", type=int, default=8181)
    parser.add_argument("--token", default="test-token")
    options = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before any thread, so that all inherit it
    with InfluxDouble(options.token, options.port) as double:
        print(f"{double.url} token {double.token}", flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
