"""Reading recorded telemetry: native JSON lines, and traces of tokens without latency and cost.

Both readers stream: a file of any size needs the memory of one chunk. Files may be gzip-compressed, whatever their
name. A line that cannot be used is handed to `on_bad(line number from 1, reason)`, and reading goes on with the next.
"""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.timestamps import rfc3339, unix_nanoseconds
from ingestion.formats.validation import Limits, Rejection

OnBad = Callable[[int, str], None]

MOST_LINE_BYTES = 1_000_000  # what a Kafka broker accepts as one message unless told otherwise
GZIP_MAGIC = b"\x1f\x8b"
NOISE_BLOCK_LINES = 4096
TRACE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
END_OF_TIME_MS = 253_402_300_799_000  # the year 9999: nothing recorded lies in the future of its reading


class RecordingError(Exception):
    """A file that cannot be read as what it was said to be; the message says where and why."""


class Call(NamedTuple):
    """One event of a recording, as the pipeline would take it in."""

    line: int
    event: Event


class Recorded(NamedTuple):
    """One event of a recording: its time (ns since 1970, UTC), its series, and the native JSON to publish."""

    line: int
    timestamp_ns: int
    service: str
    model: str
    payload: bytes


class Recording:
    """A recorded file, opened: its bytes decompressed, and how far reading has come in the file itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror}") from error
        self.size = os.fstat(self._file.fileno()).st_size
        compressed = self._file.read(2) == GZIP_MAGIC
        self._file.seek(0)
        self.content: BinaryIO = gzip.GzipFile(fileobj=self._file) if compressed else self._file  # type: ignore[assignment]

    @property
    def position(self) -> int:
        """Bytes of the file (as it lies on the disk) that were read so far."""
        return self._file.tell()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def lines(self, on_bad: OnBad) -> Iterator[tuple[int, bytes]]:
        """(number, line without its end) of every line that is not blank and not too long to be a message."""
        for number, line in self._numbered():
            if len(line) > MOST_LINE_BYTES:
                on_bad(number, f"longer than {MOST_LINE_BYTES} bytes")
            elif text := line.strip():
                yield number, text

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            while line := self.content.readline(MOST_LINE_BYTES + 1):
                number += 1
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                while line and not line.endswith(b"\n"):  # the rest of a line that was too long
                    line = self.content.readline(MOST_LINE_BYTES + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise RecordingError(f"{self.path}: damaged gzip data after line {number}: {error}") from error


def read_native(recording: Recording, on_bad: OnBad) -> Iterator[Recorded]:
    """Native events, flat or nested, one JSON object a line; the payload is the line as it was recorded."""
    for (number, event), line in _decoded(recording.lines(on_bad), on_bad, Limits()):
        yield Recorded(number, event.timestamp_ns, event.service, event.model, line)


def native_calls(recording: Recording, on_bad: OnBad, limits: Limits) -> Iterator[Call]:
    """Native events, flat or nested, one JSON object a line."""
    return (call for call, _ in _decoded(recording.lines(on_bad), on_bad, limits))


def _decoded(lines: Iterable[tuple[int, bytes]], on_bad: OnBad, limits: Limits) -> Iterator[tuple[Call, bytes]]:
    for number, line in lines:
        try:
            event = native.decode(line, received_ms=END_OF_TIME_MS, limits=limits)
        except Rejection as rejection:
            on_bad(number, f"{rejection.code}: {rejection}")
        else:
            yield Call(number, event), line


@dataclass(frozen=True, slots=True)
class CallCost:
    """What a call takes and costs, for traces that tell its tokens only.

    latency_ms = (base_ms + ms_per_input_token * input + ms_per_output_token * output) * exp(noise * N(0, 1))
    cost_usd = (usd_per_1k_input * input + usd_per_1k_output * output) / 1000
    """

    base_ms: float = 300.0
    ms_per_input_token: float = 0.08
    ms_per_output_token: float = 22.0
    noise: float = 0.35
    usd_per_1k_input: float = 0.0025
    usd_per_1k_output: float = 0.010

    def latency_ms(self, tokens_in: int, tokens_out: int, normal: float) -> float:
        median = self.base_ms + self.ms_per_input_token * tokens_in + self.ms_per_output_token * tokens_out
        return median * float(np.exp(self.noise * normal))

    def usd(self, tokens_in: int, tokens_out: int) -> float:
        return (self.usd_per_1k_input * tokens_in + self.usd_per_1k_output * tokens_out) / 1000


@dataclass(frozen=True, slots=True)
class Trace:
    """What a trace of tokens does not say: whose calls they are, and how to derive latency and cost.

    The noise of a call depends on `seed` and the number of its line alone.
    """

    service: str = "replay"
    model: str = "trace"
    seed: int = 0
    cost: CallCost = CallCost()

    def event(self, line: int, timestamp_ns: int, tokens_in: int, tokens_out: int) -> Event:
        """It has no id: a trace that is replayed twice happens twice."""
        normal = float(_noise(self.seed, line // NOISE_BLOCK_LINES)[line % NOISE_BLOCK_LINES])
        return Event(
            timestamp_ns=timestamp_ns,
            service=self.service,
            model=self.model,
            latency_ms=round(self.cost.latency_ms(tokens_in, tokens_out, normal), 3),
            prompt_tokens=tokens_in,
            completion_tokens=tokens_out,
            total_tokens=tokens_in + tokens_out,
            cost_usd=round(self.cost.usd(tokens_in, tokens_out), 9),
            cost_source="reported",
        )


@lru_cache(maxsize=2)
def _noise(seed: int, block: int) -> NDArray[np.float64]:
    return np.random.default_rng([seed, block]).standard_normal(NOISE_BLOCK_LINES)


def read_llm_trace(recording: Recording, on_bad: OnBad, trace: Trace) -> Iterator[Recorded]:
    """Calls of a CSV file with the columns TIMESTAMP, ContextTokens and GeneratedTokens (others are ignored).

    A TIMESTAMP without a zone is UTC; it is taken as the end of its call. RecordingError if a column is missing.
    """
    lines = recording.lines(on_bad)
    _, header = next(lines, (0, b""))
    columns = _trace_columns(recording.path, _csv_row(header))
    for number, line in lines:
        try:
            call = _trace_call(_csv_row(line), columns)
        except (ValueError, csv.Error) as error:
            on_bad(number, str(error))
        else:
            event = trace.event(number, *call)
            yield Recorded(number, event.timestamp_ns, event.service, event.model, native.encode(event))


def trace_calls(recording: Recording, on_bad: OnBad, trace: Trace, limits: Limits) -> Iterator[Call]:
    """What `read_llm_trace` reads, once it has come through the pipeline's door."""
    lines = ((call.line, call.payload) for call in read_llm_trace(recording, on_bad, trace))
    return (call for call, _ in _decoded(lines, on_bad, limits))


def _csv_row(line: bytes) -> list[str]:
    return next(csv.reader([line.decode(errors="replace")]), [])


def _trace_columns(path: Path, header: list[str]) -> tuple[int, int, int]:
    missing = [name for name in TRACE_COLUMNS if name not in header]
    if missing:
        raise RecordingError(
            f"{path}: the first line must name the columns {', '.join(TRACE_COLUMNS)}; missing: {', '.join(missing)}"
        )
    when, tokens_in, tokens_out = (header.index(name) for name in TRACE_COLUMNS)
    return when, tokens_in, tokens_out


def _trace_call(row: list[str], columns: tuple[int, int, int]) -> tuple[int, int, int]:
    if len(row) <= max(columns):
        raise ValueError(f"has {len(row)} columns, fewer than the first line")
    when, tokens_in, tokens_out = (row[column] for column in columns)
    return _nanoseconds(when), _count("ContextTokens", tokens_in), _count("GeneratedTokens", tokens_out)


def _nanoseconds(text: str) -> int:
    try:
        return unix_nanoseconds(text)
    except ValueError:
        raise ValueError(
            f"TIMESTAMP must be a date and time such as 2023-11-16 18:17:03.97, not {text[:40]!r}"
        ) from None


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ValueError(f"{name} must be a count of tokens, not {text[:40]!r}")
    return int(text)


def restamped(payload: bytes, timestamp_ns: int, *, without_id: bool = False) -> bytes:
    """Native JSON with another time and, if asked, without the ids by which a repetition would be recognised."""
    fields = msgspec.json.decode(payload)
    fields["timestamp"] = rfc3339(timestamp_ns)
    if without_id:
        fields.pop("event_id", None)
        fields.pop("request_id", None)
    return msgspec.json.encode(fields)
