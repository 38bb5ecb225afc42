"""The SQL that InfluxDB 3 is asked, and what its answers mean. Values travel as parameters, never inside the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from baselines.api.pages import decode_cursor, encode_cursor
from baselines.stats.sketch import BUCKETS, LOG_GAMMA, LOW, SKETCHED
from ingestion.telemetry_store.contract import BadCursor, SummaryQuery, Tally, TelemetryQuery, UserTally, moment
from ingestion.telemetry_store.line_protocol import from_tag_value, tag_value

# InfluxDB 3 Core refuses a query that touches more files than some three days fill.
LONGEST_READ_NS = 72 * 3600 * 1_000_000_000

_LATENCY = SKETCHED.index("latency_ms")
_ROW_COLUMNS = (
    "service, model, source, event_id, event_time_ns, latency_ms, prompt_tokens, completion_tokens, total_tokens,"
    " cost_usd, cost_source, error, errors, ttft_ms, finish_reason, user_id, session_id, trace_id, span_id, metadata"
)
_NEWEST_FIRST = "time DESC, source DESC, service DESC, model DESC"


class Statement(NamedTuple):
    """SQL and its parameters."""

    sql: str
    parameters: dict[str, Any]


def pieces(start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """Cut [start, end) into parts that may be read at once, newest first."""
    while end_ns > start_ns:
        begin = max(start_ns, end_ns - LONGEST_READ_NS)
        yield begin, end_ns
        end_ns = begin


@dataclass
class _Conditions:
    terms: list[str]
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def within(cls, start_ns: int, end_ns: int) -> _Conditions:
        # Integers, made here: as literals the planner can use them to leave files out.
        return cls([f"time >= to_timestamp_nanos({start_ns})", f"time < to_timestamp_nanos({end_ns})"])

    def series(self, query: TelemetryQuery | SummaryQuery) -> _Conditions:
        if query.services is not None:
            names = {f"service{n}": tag_value(name) for n, name in enumerate(sorted(query.services))}
            self.parameters |= names
            self.terms.append(f"service IN ({', '.join('$' + name for name in names)})" if names else "false")
        if query.model is not None:
            self.parameters["model"] = tag_value(query.model)
            self.terms.append("model = $model")
        return self

    def after(self, cursor: Cursor) -> _Conditions:
        here = f"to_timestamp_nanos({cursor.time_ns})"
        self.parameters |= {f"last_{name}": getattr(cursor, name) for name in ("source", "service", "model")}
        self.terms.append(
            f"(time < {here} OR (time = {here} AND (source < $last_source OR (source = $last_source AND"
            " (service < $last_service OR (service = $last_service AND model < $last_model))))))"
        )
        return self

    def __str__(self) -> str:
        return " AND ".join(self.terms)


class Cursor(NamedTuple):
    """The last row of a page: the key of its point, with tags as InfluxDB holds them."""

    time_ns: int
    source: str
    service: str
    model: str

    def encode(self) -> str:
        return encode_cursor(self)

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Raises BadCursor."""
        try:
            return decode_cursor(text, cls)
        except (ValueError, msgspec.MsgspecError) as error:
            raise BadCursor("is not a cursor of this list") from error


def telemetry(query: TelemetryQuery, start_ns: int, end_ns: int, cursor: Cursor | None, limit: int) -> Statement:
    """The newest events of [start, end) that come after the cursor."""
    where = _Conditions.within(start_ns, end_ns).series(query)
    if cursor is not None:
        where.after(cursor)
    sql = (
        f"SELECT CAST(time AS BIGINT) AS time_ns, {_ROW_COLUMNS} FROM telemetry"  # noqa: S608 - all parts are ours
        f" WHERE {where} ORDER BY {_NEWEST_FIRST} LIMIT {limit}"
    )
    return Statement(sql, where.parameters)


def summary(query: SummaryQuery, start_ns: int, end_ns: int) -> Statement:
    """Events per interval and bucket of the latency sketch; the bucket is null for calls without a latency."""
    low, log_gamma = float(LOW[_LATENCY]), float(LOG_GAMMA[_LATENCY])
    where = _Conditions.within(start_ns, end_ns).series(query)
    sql = (
        f"SELECT CAST(time AS BIGINT) / {query.seconds * 1_000_000_000} * {query.seconds} AS start,"  # noqa: S608
        " CASE WHEN error OR latency_ms IS NULL THEN NULL"
        f" WHEN latency_ms <= {low!r} THEN 0"
        f" ELSE LEAST(CAST(ceil(ln(latency_ms / {low!r}) / {log_gamma!r}) AS BIGINT), {BUCKETS - 1}) END AS bucket,"
        " count(*) AS calls, sum(CASE WHEN error THEN 1 ELSE 0 END) AS errors, sum(cost_usd) AS cost"
        f" FROM telemetry WHERE {where} GROUP BY 1, 2"
    )
    return Statement(sql, where.parameters)


def users(start_ns: int, end_ns: int, limit: int) -> Statement:
    """Who spent the most in [start, end)."""
    where = _Conditions.within(start_ns, end_ns)
    where.terms += ["NOT error", "user_id <> ''"]
    sql = (
        "SELECT service, model, user_id, count(*) AS calls, COALESCE(sum(cost_usd), 0.0) AS cost,"  # noqa: S608
        " COALESCE(sum(total_tokens), 0) AS tokens,"
        " COALESCE(sum(CASE WHEN cost_usd IS NULL THEN total_tokens END), 0) AS unpriced"
        f" FROM telemetry WHERE {where} GROUP BY service, model, user_id"
        f" ORDER BY cost DESC, tokens DESC, user_id, service, model LIMIT {limit}"
    )
    return Statement(sql, where.parameters)


def detections(anomaly_id: UUID, start_ns: int, end_ns: int, limit: int) -> Statement:
    """The newest detections of one anomaly within [start, end)."""
    where = _Conditions.within(start_ns, end_ns)
    where.terms.append("anomaly_id = $anomaly")
    sql = (
        "SELECT CAST(time AS BIGINT) AS time_ns, service, model, metric, detector, severity, value, expected,"  # noqa: S608
        f" lower, upper, score, event_id FROM detections WHERE {where} ORDER BY time DESC, metric LIMIT {limit}"
    )
    return Statement(sql, {"anomaly": str(anomaly_id)})


def cursor_of(row: dict[str, Any]) -> Cursor:
    """The cursor that continues after a row of `telemetry`."""
    return Cursor(row["time_ns"], row["source"] or "", row["service"] or "", row["model"] or "")


def telemetry_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `telemetry` as the API gives it."""
    return {
        "event_id": row["event_id"],
        "timestamp": moment(row["event_time_ns"]),
        "service": from_tag_value(row["service"] or ""),
        "model": from_tag_value(row["model"] or ""),
        **{name: row[name] for name in ("latency_ms", "prompt_tokens", "completion_tokens", "total_tokens")},
        "cost_usd": row["cost_usd"],
        "cost_source": row["cost_source"] or "",
        "error": row["error"],
        "errors": msgspec.json.decode(row["errors"] or "[]"),
        "ttft_ms": row["ttft_ms"],
        **{name: row[name] or "" for name in ("finish_reason", "user_id", "session_id", "trace_id", "span_id")},
        "metadata": msgspec.json.decode(row["metadata"] or "{}"),
    }


def detection_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `detections` as the API gives it."""
    time_ns = row.pop("time_ns")
    names = {name: from_tag_value(row[name] or "") for name in ("service", "model", "metric", "detector", "severity")}
    return {"timestamp": moment(time_ns - time_ns % 1_000_000), **row, **names, "event_id": row["event_id"] or ""}


def user_tally(row: dict[str, Any]) -> UserTally:
    """A row of `users` as it is asked for."""
    names = (from_tag_value(row[name] or "") for name in ("service", "model"))
    return UserTally(*names, row["user_id"], *(row[name] for name in ("calls", "cost", "tokens", "unpriced")))


def tally(row: dict[str, Any]) -> Tally:
    """One row of `summary` as a tally."""
    tally = Tally(count=row["calls"], errors=row["errors"], cost=row["cost"] or 0.0)
    if row["bucket"] is not None:
        tally.latencies[row["bucket"]] = row["calls"]
    return tally
