"""Idle time of a partition: how long nothing came, as far as the broker says so.

That nothing arrives may mean that nobody sent, or that the broker or the way to it is down. So the end of the
partition is asked for again and again, and only time between two answers that found nothing new is idle time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from ingestion.kafka import ADMIN_SECONDS

Place = tuple[str, int]
EVERY_SECONDS = 2.0
# Answers further apart do not vouch for the time between them.
APART_SECONDS = 10.0
# After such a time, and in a partition just taken over, who sends gets this long to be back before idle time is told.
RETURN_SECONDS = 60.0


@dataclass
class Idleness:
    """The idle time of one partition; all moments are those of `time.monotonic`."""

    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.confirmed = self.since
        self.told_from = self.since + RETURN_SECONDS

    def interrupt(self, moment: float) -> None:
        """A message came: idle time begins anew. Whoever gets messages can hear."""
        self.since = self.confirmed = moment

    def confirm(self, moment: float) -> None:
        """At this moment the broker had nothing behind what was read."""
        if moment < self.confirmed:  # asked before the last message came
            return
        if moment - self.confirmed > APART_SECONDS:
            self.since, self.told_from = moment, moment + RETURN_SECONDS
        self.confirmed = moment

    def seconds(self) -> float | None:
        """How long nothing came for certain; None where that is not to be told yet."""
        return self.confirmed - self.since if self.confirmed >= self.told_from else None


class EndWatch:
    """Asks a cluster for the ends of partitions now and then, without waiting for the answer."""

    def __init__(self, connection: dict[str, Any]) -> None:
        self._connection = connection
        self._admin = AdminClient(connection)
        self._asked = time.monotonic()
        self._answers: dict[Place, Future[Any]] = {}

    def ends(self, wanted: Iterable[Place]) -> tuple[float, dict[Place, int]]:
        """The newest answer if there is one: when it was asked for, and the end of each partition it knows.

        Asks again for the `wanted` partitions once an answer is EVERY_SECONDS old.
        """
        ends: dict[Place, int] = {}
        asked = self._asked
        if self._answers and all(answer.done() for answer in self._answers.values()):
            answers, self._answers = self._answers, {}
            ends = {place: end for place, answer in answers.items() if (end := _end(answer)) is not None}
            if len(ends) < len(answers):
                # It would go on asking by the epochs of leaders that it knew before the broker was down.
                self._admin = AdminClient(self._connection)
        if not self._answers and time.monotonic() - self._asked >= EVERY_SECONDS:
            self._ask(list(wanted))
        return asked, ends

    def _ask(self, places: list[Place]) -> None:
        if not places:
            return
        self._asked = time.monotonic()
        specs = {TopicPartition(*place): OffsetSpec.latest() for place in places}  # type: ignore[no-untyped-call]
        answers = self._admin.list_offsets(specs, request_timeout=ADMIN_SECONDS)
        self._answers = {(place.topic, place.partition): answer for place, answer in answers.items()}


def _end(answer: Future[Any]) -> int | None:
    """The end of a partition; None where the broker could not say."""
    try:
        return int(answer.result().offset)
    except KafkaException:
        return None
