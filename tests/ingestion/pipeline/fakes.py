"""Messages without a broker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import TIMESTAMP_CREATE_TIME

from tests.ingestion.pipeline.recordings import Message


@dataclass(frozen=True)
class FakeMessage:
    """What the pipeline asks of a `confluent_kafka.Message`."""

    at: int
    payload: bytes | None
    kafka_key: bytes | None = None
    timestamp_ms: int = 0
    kind: int = TIMESTAMP_CREATE_TIME
    of: str = "llm.telemetry"
    number: int = 0

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes | None:
        return self.payload

    def key(self) -> bytes | None:
        return self.kafka_key

    def timestamp(self) -> tuple[int, int]:
        return self.kind, self.timestamp_ms

    def topic(self) -> str:
        return self.of

    def partition(self) -> int:
        return self.number


def as_messages(sent: Iterable[Message], first: int = 0) -> list[FakeMessage]:
    """Messages at consecutive offsets."""
    return [FakeMessage(offset, value, key, at) for offset, (key, value, at) in enumerate(sent, first)]
