"""The real Kafka with a topic of a test's own, behind the product's doors."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from ingestion import reception
from ingestion.kafka import client_settings, ensure_topics
from sentinel_site.config.ingestion import KafkaConfig
from tests.support.services import require


@pytest.fixture
def kafka(settings: Settings) -> Iterator[KafkaConfig]:
    config = KafkaConfig(brokers=(require("kafka"),), topic=f"test-{uuid.uuid4()}")
    ensure_topics(client_settings(config), [config.topic], 3, 1)
    ingestion = settings.SENTINEL.ingestion.model_copy(update={"kafka": config})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"ingestion": ingestion})
    reception.forget_producer()
    yield config
    reception.forget_producer()
