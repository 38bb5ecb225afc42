"""The store role counts what has no price, once for every event that it is to store."""

from __future__ import annotations

import json
from uuid import UUID

from prometheus_client import REGISTRY

from baselines.store import PartitionName
from ingestion.recent import RecentIds
from ingestion.sources import Source
from ingestion.store import StoreRole
from sentinel_site.config.model import Config
from tests.ingestion.pipeline.fakes import FakeMessage

MODEL = "model-of-nobody"


def message(offset: int, **fields: object) -> FakeMessage:
    event = {"timestamp": "2025-06-01T00:00:00Z", "service_name": "chat", "model_name": MODEL, "latency_ms": 5}
    tokens = {"prompt_tokens": 10, "completion_tokens": 1, "event_id": f"e{offset}"}
    return FakeMessage(offset, json.dumps({**event, **tokens, **fields}).encode())


def unpriced_tokens() -> float:
    return REGISTRY.get_sample_value("sentinel_unpriced_tokens_total", {"model": MODEL}) or 0


def test_the_store_role_counts_tokens_without_a_price_once_per_stored_event() -> None:
    role = StoreRole(Config(), None, topics=["llm.telemetry"], group_id="g", batch_size=10)  # type: ignore[arg-type]
    source = Source(PartitionName("llm.telemetry", UUID(int=1), 0), 0, 0, RecentIds(100))
    before = unpriced_tokens()
    role._take(source, [message(0), message(1), message(2, cost_usd=0.1), message(3, event_id="e1")])  # type: ignore[list-item]
    role._take(source, [message(1), message(4)])  # type: ignore[list-item]
    assert len(source.events) == 4
    assert unpriced_tokens() == before + 3 * 11
