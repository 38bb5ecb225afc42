"""The metrics: how many, how they are named, and that their page says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel_site.metric_pages import CHAPTERS, definitions, full_name, page

ROOT = Path(__file__).parents[2]
EVERY = [metric for module in CHAPTERS.values() for metric in definitions(module)]
NAMES = [full_name(metric) for metric in EVERY]
PROMISED = [
    "sentinel_events_received_total",
    "sentinel_events_processed_total",
    "sentinel_ingestion_errors_total",
    "sentinel_validation_failures_total",
    "sentinel_kafka_messages_consumed_total",
    "sentinel_kafka_consumption_errors_total",
    "sentinel_anomalies_detected_total",
    "sentinel_detection_latency_seconds",
    "sentinel_detection_errors_total",
    "sentinel_baseline_updates_total",
    "sentinel_baseline_samples",
    "sentinel_storage_writes_total",
    "sentinel_storage_errors_total",
    "sentinel_cache_hits_total",
    "sentinel_cache_misses_total",
    "sentinel_cache_size",
    "sentinel_alerts_sent_total",
    "sentinel_alerts_deduplicated_total",
    "sentinel_alert_failures_total",
    "sentinel_rabbitmq_publishes_total",
    "sentinel_webhook_deliveries_total",
    "sentinel_webhook_failures_total",
]


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_metric_is_defined(name: str) -> None:
    assert name in NAMES


def test_there_are_sixty_metrics_each_defined_once() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 60


def test_the_page_says_what_the_code_says() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == page(), "run: manage.py document_metrics"
