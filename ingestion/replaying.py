"""Recorded events on their way to Kafka: each when it is due, dated as asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ingestion.pacing import Clock, Pace, waits_until
from ingestion.publishing import Publisher
from ingestion.recordings import Recorded, restamped


def replaying(
    records: Iterable[Recorded], publisher: Publisher, clock: Clock, speed: float, *, dated_now: bool, new_ids: bool
) -> Iterator[int]:
    """Publishes each event when it is due at `speed` times the recorded pace; ends early with the clock.

    With `dated_now` an event gets the time at which it is sent, else it keeps its own; with `new_ids` it loses the
    id by which a repetition would be recognised. Yields the number of the line it has come to, after every event
    and at least every half second while it waits.
    """
    pace = Pace(clock, speed)
    for record in records:
        for stopped in waits_until(clock, pace.due_ns(record.timestamp_ns)):
            if stopped:
                return
            yield record.line
        if clock.wait(0):
            return
        payload = record.payload
        if dated_now or new_ids:
            payload = restamped(payload, clock.now_ns() if dated_now else record.timestamp_ns, without_id=new_ids)
        publisher.publish(record.service, record.model, payload)
        yield record.line
