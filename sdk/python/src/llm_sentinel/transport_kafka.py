"""Events over Kafka, keyed and partitioned so that one partition sees a series whole."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from llm_sentinel.transport import Delivery, Message, Pause

POLL_SECONDS = 0.05
NOTE_SECONDS = 30.0
# Refusals that are about the message itself; trying again would not help.
ABOUT_THE_MESSAGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.RECORD_LIST_TOO_LARGE}

log = logging.getLogger("llm_sentinel.kafka")


class KafkaTransport:
    """Idempotent and acknowledged by all replicas; `murmur2_random` places keys as Java's clients do.

    `brokers` are "host:port" texts, or one text of them with commas. `settings` are librdkafka's properties (for
    TLS and SASL, for instance) and go before those chosen here. Raises ValueError for properties it does not know.
    """

    batch_events = 5_000
    batch_bytes = 8 * 1024 * 1024
    linger_seconds = 0.0  # librdkafka lingers by itself

    def __init__(
        self,
        brokers: str | Sequence[str],
        topic: str,
        *,
        delivery_seconds: float = 60.0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._topic = topic
        self._settings: dict[str, Any] = {
            "bootstrap.servers": brokers if isinstance(brokers, str) else ",".join(brokers),
            "client.id": "llm-sentinel",
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "compression.type": "zstd",
            "message.timeout.ms": round(delivery_seconds * 1000),
            "logger": log,
            "log_level": 2,  # each failed connection would be a line; `_note` says it now and then
            "error_cb": self._note,
            **(settings or {}),
        }
        self._broken = False
        self._trouble = ""
        self._noted_at = float("-inf")
        self._producer = self._connect()

    def _connect(self) -> Producer:
        self._broken = False
        try:
            return Producer(self._settings)
        except KafkaException as error:
            raise ValueError(f"librdkafka refuses these settings: {error.args[0].str()}") from None

    def _note(self, error: KafkaError) -> None:
        """librdkafka recovers from all but a fatal error by itself; that one needs a new producer."""
        self._broken = self._broken or error.fatal()
        self._trouble = error.str()
        if time.monotonic() - self._noted_at > NOTE_SECONDS:
            self._noted_at = time.monotonic()
            log.warning("trouble with Kafka: %s", self._trouble)

    def deliver(self, batch: Sequence[Message], pause: Pause) -> Delivery:
        """Produce a batch and wait until the broker has acknowledged or refused each message."""
        if self._broken:
            self._producer = self._connect()
        outcome = _Outcome(len(batch))
        for message in batch:
            self._produce(message, outcome, pause)
        while outcome.pending:
            self._producer.poll(POLL_SECONDS)
            if outcome.pending and pause(0):
                self._producer.purge()
                break
        return outcome.delivery(self._trouble)

    def _produce(self, message: Message, outcome: _Outcome, pause: Pause) -> None:
        while not self._taken(message, outcome):
            self._producer.poll(POLL_SECONDS)
            if pause(0):
                return

    def _taken(self, message: Message, outcome: _Outcome) -> bool:
        """False if the client's own queue is full."""
        try:
            self._producer.produce(self._topic, message.value, message.key, on_delivery=outcome.settle)
        except BufferError:
            return False
        except KafkaException as error:
            outcome.settle(error.args[0], None)
        else:
            self._producer.poll(0)
        return True

    def after_fork(self) -> None:
        """Leave the parent's producer alone and connect anew with the first batch.

        None of its threads is here: its end would wait for them for ever, so it is kept from ending.
        """
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))
        self._broken = True

    def close(self) -> None:
        """Every batch was waited for, so nothing is left to flush."""
        self._producer.poll(0)


class _Outcome:
    """Counts the delivery reports of one batch; reports come in the thread that polls."""

    def __init__(self, sent: int) -> None:
        self.pending = sent
        self.rejected = 0
        self.lost = 0
        self.reason = ""

    def settle(self, error: KafkaError | None, _message: KafkaMessage | None) -> None:
        self.pending -= 1
        if error is not None:
            self.reason = error.str()
            if error.code() in ABOUT_THE_MESSAGE:
                self.rejected += 1
            else:
                self.lost += 1

    def delivery(self, trouble: str) -> Delivery:
        """`trouble` is what the client said last of its connections: time-outs do not name their cause."""
        reason = self.reason or ("closed before Kafka acknowledged" if self.pending else "")
        lost = self.lost + self.pending
        return Delivery(self.rejected, lost, f"{reason} ({trouble})" if lost and trouble else reason)
