"""Dead letters: what cannot be used is kept with its reason, and too much of it is an alarm."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from ingestion.formats.timestamps import rfc3339
from ingestion.formats.validation import Rejection
from ingestion.metrics import DEAD_LETTERS
from ingestion.privacy import DEFAULT, Scrubber, redact, scrub_payload

MAX_PAYLOAD_BYTES = 65_536
MAX_DETAIL_LENGTH = 500
REASON_HEADER = "reason"
TAKEN_HEADER = "taken"
"""On a message that was sent again: `Taken` of its first time, as JSON."""


class Taken(msgspec.Struct, frozen=True):
    """What was taken of a message that holds several items and was refused in part, so that a replay leaves it out.

    `seed` is the place at which it first stood: ids of items without one are made of it. `ids` are 64-bit identities
    (`ingestion.recent.identity`) of the `count` events; empty, though there are some, where they cannot be told.
    """

    seed: str
    count: int = 0
    ids: bytes = b""

    @property
    def is_told(self) -> bool:
        return bool(self.ids) or not self.count


@dataclass(frozen=True, slots=True)
class Record:
    """A message where it stands in Kafka; `timestamp_ms` is Kafka's own, None where it has none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    payload: bytes | None

    @classmethod
    def of(cls, message: Message) -> Record:
        """The record of a consumed message."""
        kind, timestamp_ms = message.timestamp()
        known = None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms
        return cls(
            str(message.topic()), int(message.partition() or 0), int(message.offset() or 0), known, message.value()
        )


def dead_letter(
    record: Record | Message,
    rejection: Rejection,
    *,
    patterns: tuple[str, ...] = (),
    scrubber: Scrubber = DEFAULT,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    taken: Taken | None = None,
) -> bytes:
    """The value of a dead letter, as JSON: where the message stood, why it was refused, what it was (scrubbed).

    `patterns` are `parsing.sanitize_patterns`, `scrubber` masks private data. Texts of prompts and responses are
    removed in any case. `taken` says what of a message with several items was not refused.
    """
    if not isinstance(record, Record):
        record = Record.of(record)
    DEAD_LETTERS.labels(rejection.code).inc()
    return msgspec.json.encode(
        {
            "reason": rejection.code,
            "detail": scrubber.scrub(redact(rejection.detail, patterns))[:MAX_DETAIL_LENGTH],
            "field": rejection.field[:MAX_DETAIL_LENGTH],
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": None if record.timestamp_ms is None else rfc3339(record.timestamp_ms * 1_000_000),
            **_payload(scrub_payload(record.payload or b"", patterns, max_payload_bytes, scrubber)),
            **({} if taken is None else {"taken": taken}),
        }
    )


def headers(rejection: Rejection) -> dict[str, bytes]:
    """The headers of a dead letter: its reason, to be filtered by without reading the value."""
    return {REASON_HEADER: rejection.code.encode()}


def _payload(payload: bytes) -> dict[str, Any]:
    try:
        return {"payload": payload.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"payload": base64.b64encode(payload).decode(), "encoding": "base64"}


class PoisonGauge:
    """Watches how much of the input is invalid: too many in a row, or too large a share of the latest messages."""

    def __init__(self, max_consecutive: int = 50, max_share: float = 0.05, window: int = 1000) -> None:
        self._max_consecutive = max_consecutive
        self._most = max_share * window
        self._latest = bytearray(window)  # 1 = invalid; a ring
        self._place = 0
        self._invalid = 0
        self._consecutive = 0

    @classmethod
    def of(cls, dead_letters: Any) -> PoisonGauge:
        """The gauge that the configuration's section `ingestion.dead_letters` sets."""
        return cls(dead_letters.max_consecutive, dead_letters.max_share, dead_letters.window)

    def valid(self, count: int = 1) -> None:
        """Note valid messages, one after another."""
        if count:
            self._consecutive = 0
        if not self._invalid:  # nothing to push out of the ring: the usual case costs nothing per message
            return
        for _ in range(min(count, len(self._latest))):
            self._note(0)

    def invalid(self) -> None:
        """Note one invalid message."""
        self._consecutive += 1
        self._note(1)

    def _note(self, invalid: int) -> None:
        self._invalid += invalid - self._latest[self._place]
        self._latest[self._place] = invalid
        self._place = (self._place + 1) % len(self._latest)

    @property
    def alarm(self) -> str | None:
        """What is wrong with the input, in words; None while it is within the limits."""
        if self._consecutive >= self._max_consecutive:
            return f"{self._consecutive} invalid messages in a row"
        if self._invalid > self._most:
            return f"{self._invalid} of the last {len(self._latest)} messages are invalid"
        return None
