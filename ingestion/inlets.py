"""Topics whose records hold many calls, or calls without their key: what the normalize role reads of each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError

from ingestion.formats import validation
from ingestion.formats.event import Event
from ingestion.formats.otlp import Decoded, Encoding, Unreadable, sniffed
from ingestion.formats.otlp.envelopes import SIGNALS, SignalName
from ingestion.formats.splitting import split_events
from ingestion.formats.validation import Limits, Rejection
from ingestion.otlp.memory import Recollection
from ingestion.otlp.reception import MAX_POINTS, decode
from ingestion.reception import MAX_EVENTS, TooManyEvents, counted, decode_one

ENCODINGS: dict[str, Encoding | None] = {"auto": None, "otlp_proto": "protobuf", "otlp_json": "json"}
REQUESTS = {signal.name: signal.request for signal in SIGNALS}


@dataclass(frozen=True, slots=True)
class Inlet:
    """One topic: `signal` None means native events, `encoding` None that each record tells it by its first byte."""

    signal: SignalName | None
    encoding: Encoding | None = None

    def decode(self, payload: bytes, *, received_ms: int, limits: Limits, recollection: Recollection) -> Decoded:
        """The calls of one record; one of which nothing can be read is one rejection. Raises redis.RedisError."""
        try:
            if self.signal is None:
                return _natives(payload, received_ms, limits)
            return decode(
                self.signal,
                payload,
                self.encoding or sniffed(payload),
                received_ms=received_ms,
                limits=limits,
                recollection=recollection,
            )
        except TooManyEvents:
            most = f"{MAX_EVENTS} events" if self.signal is None else f"{MAX_POINTS} data points"
            return _refused(validation.OUT_OF_RANGE, f"holds more than {most}")
        except Unreadable as error:
            return _refused(validation.INVALID, str(error))
        except RecursionError:
            return _refused(validation.TOO_DEEP, "is nested too deeply")
        except ValueError as error:
            return _refused(validation.INVALID_JSON, f"is neither an event nor an array of events: {error}")

    def specimen(self, payload: bytes, most: int) -> bytes:
        """The record as JSON, from which texts can be removed; empty where it is none, or has more than `most` bytes.

        The record itself stays in its topic, and is what a replay sends.
        """
        if self.signal is None or sniffed(payload) == "json":
            return payload
        if len(payload) > most:
            return b""
        try:
            rendered: str = MessageToJson(REQUESTS[self.signal].FromString(payload), indent=None)
        except (DecodeError, ValueError, RecursionError):
            return b""
        return rendered.encode()


def inlets_of(config: Any) -> dict[str, Inlet]:
    """The topics that the configuration's section `ingestion.normalize` names, with what they hold."""
    otlp: tuple[tuple[str | None, SignalName, str], ...] = (
        (config.spans_topic, "traces", config.spans_encoding),
        (config.logs_topic, "logs", config.logs_encoding),
        (config.metrics_topic, "metrics", config.metrics_encoding),
    )
    named = {topic: Inlet(signal, ENCODINGS[encoding]) for topic, signal, encoding in otlp if topic is not None}
    return {topic: Inlet(None) for topic in config.native_topics} | named


def _natives(payload: bytes, received_ms: int, limits: Limits) -> Decoded:
    if not payload:
        return _refused(validation.EMPTY, "is empty (a tombstone)")
    decoded = Decoded()
    for item in counted(split_events(payload)):
        try:
            decoded.events.append(decode_one(item, received_ms, limits))
        except Rejection as rejection:
            decoded.rejections.append(rejection.kept())
    return decoded


def _refused(code: str, detail: str) -> Decoded:
    return Decoded(rejections=[Rejection(code, "", detail)])


def name_events(events: Iterable[Event], seed: str) -> None:
    """Give events without an id one: the same for the same record, whichever of its other items are refused.

    Made of the place of the record (`seed`), of what does not depend on how texts are cleaned, and of how many events
    of the record said the same before.
    """
    seen: Counter[tuple[object, ...]] = Counter()
    for event in events:
        if event.event_id is None:
            told = (
                event.service,
                event.model,
                event.timestamp_ns,
                event.latency_ms,
                event.prompt_tokens,
                event.completion_tokens,
                event.trace_id,
            )
            seen[told] += 1
            text = f"{seed}|{told}|{seen[told]}"
            event.event_id = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:32]
