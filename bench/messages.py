"""Native messages such as applications send: about 500 bytes, an id of their own, labels, no texts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from ingestion.formats.event import Event, partition_key
from ingestion.formats.native import encode
from ingestion.simulation.fleet import fleet
from ingestion.simulation.generator import Traffic

START_NS = 1_790_000_000_000_000_000
SERVICES = 10
EVENTS_PER_SECOND = 1_000.0


def events(count: int) -> Iterator[Event]:
    """The same `count` events every time: 20 pairs of services and models, 1 000 events per second of event time."""
    batches = Traffic(fleet(SERVICES), EVENTS_PER_SECOND, seed=7).batches(START_NS)
    return islice(chain.from_iterable(batches), count)


def messages(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Kafka keys and values of the events."""
    return ((partition_key(event.service, event.model), encode(event)) for event in events(count))
