"""Noticing that a topic was deleted and made again: its name and offsets look the same, its messages are others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from ingestion.kafka import ADMIN_SECONDS, UnknownTopicId, topic_id

EVERY_SECONDS = 1.0


class TopicWatch:
    """Asks for the ids of topics now and then, without waiting for the answer."""

    def __init__(self, connection: dict[str, Any], topics: Iterable[str]) -> None:
        self._admin = AdminClient(connection)
        self._topics = TopicCollection(list(topics))
        self._asked = time.monotonic()
        self._answers: dict[str, Future[Any]] = {}

    def made_anew(self, known: Mapping[str, UUID]) -> set[str]:
        """The topics whose id is another than the known one, as far as the latest answer says."""
        if self._answers and all(answer.done() for answer in self._answers.values()):
            answers, self._answers = self._answers, {}
            return {name for name, answer in answers.items() if self._is_other(name, answer, known.get(name))}
        if not self._answers and time.monotonic() - self._asked >= EVERY_SECONDS:
            self._asked = time.monotonic()
            self._answers = self._admin.describe_topics(self._topics, request_timeout=ADMIN_SECONDS)
        return set()

    @staticmethod
    def _is_other(name: str, answer: Future[Any], known: UUID | None) -> bool:
        try:
            return known is not None and topic_id(name, answer.result()) != known
        except (KafkaException, UnknownTopicId):  # gone for now, or a broker without ids
            return False
