"""Publishing recorded or simulated events: keyed, held back where the broker keeps little, every failure counted."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import structlog
from confluent_kafka.admin import AdminClient

from ingestion.backpressure import EMBEDDED_LAG, Brake, ConsumerLag
from ingestion.formats.event import partition_key
from ingestion.kafka import ADMIN_SECONDS, MOCK_CLUSTER, KeyedProducer, NotDelivered, client_settings
from ingestion.pacing import Clock

log = structlog.get_logger(__name__)

DELIVERY_SECONDS = 60.0
LAST_DELIVERY_SECONDS = 10.0
ACKNOWLEDGED_EVERY = 5_000
"""Messages after which their acknowledgements are awaited: what is not delivered is known soon, memory stays small."""


class BrokerLostError(RuntimeError):
    """Not one of many messages was delivered: to go on would only lose more."""


class Publisher:
    """Sends native events to one topic; a context manager that delivers what is on its way when left.

    `kafka` is the configuration's section. `max_lag` bounds how many messages of a partition the detect and store
    consumers may be behind (0: unbounded; None: bounded on the embedded broker, which drops what is old, and
    unbounded on others). Raises KafkaException if the broker cannot be reached, BrokerLostError.
    """

    def __init__(self, kafka: Any, topic: str, clock: Clock, max_lag: int | None = None) -> None:
        limit = _limit(kafka, max_lag)
        self._topic = topic
        self._producer = KeyedProducer(kafka, message_timeout_ms=int(DELIVERY_SECONDS * 1000))
        self._lag: ConsumerLag | None = None
        self._hold: Callable[[], None] = lambda: None
        self._unacknowledged = 0
        self.sent = 0
        self.failed = 0
        if limit:
            groups = (kafka.group("detect"), kafka.group("store"))
            self._lag = ConsumerLag(client_settings(kafka), topic, groups)
            self._hold = Brake(self._lag.worst, self.flush, limit, clock).hold

    def publish(self, service: str, model: str, payload: bytes) -> None:
        """Send one event, as soon as the consumers are near enough."""
        self._hold()
        if self._unacknowledged >= ACKNOWLEDGED_EVERY:
            self.flush()
        self._producer.send(self._topic, payload, partition_key(service, model))
        self.sent += 1
        self._unacknowledged += 1

    def flush(self, deadline: float = DELIVERY_SECONDS + 5) -> None:
        """Wait until everything sent is delivered or has failed (after DELIVERY_SECONDS)."""
        failures = self._failures(deadline)
        waited_for, self._unacknowledged = self._unacknowledged, 0
        self.failed += len(failures)
        if failures:
            log.error("events_not_delivered", events=len(failures), of=waited_for, first=failures[0][1])
        if len(failures) == waited_for >= ACKNOWLEDGED_EVERY // 10:
            raise BrokerLostError(f"none of the last {waited_for} events was delivered: {failures[0][1]}")

    def _failures(self, deadline: float) -> list[tuple[int, str]]:
        try:
            self._producer.flush(deadline)
        except NotDelivered as error:
            return error.failures
        return []

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.flush(LAST_DELIVERY_SECONDS)
            elif not issubclass(kind, BrokerLostError):  # what was sent before something else failed still counts
                self._producer.close(LAST_DELIVERY_SECONDS)
        finally:
            if self._lag:
                self._lag.close()


def _limit(kafka: Any, max_lag: int | None) -> int:
    """The bound of the lag in messages; asks the broker what it is, and so whether it is there at all."""
    cluster = AdminClient(client_settings(kafka)).list_topics(timeout=ADMIN_SECONDS).cluster_id or ""
    if max_lag is not None:
        return max_lag
    return EMBEDDED_LAG if cluster.startswith(MOCK_CLUSTER) else 0
