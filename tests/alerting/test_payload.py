"""What receivers read."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.payload import AnomalyData, encode_body, routing_key

AT = datetime(2024, 11, 6, 10, 25, tzinfo=UTC)
KEYS = [
    "id",
    "title",
    "description",
    "severity",
    "status",
    "anomaly_type",
    "service",
    "model",
    "metric",
    "detector",
    "value",
    "baseline_mean",
    "baseline_stddev",
    "z_score",
    "occurrences",
    "first_seen",
    "last_seen",
    "url",
    "runbook_url",
    "labels",
    "sample_trace_ids",
]


def data(**changes: object) -> AnomalyData:
    values: dict[str, object] = dict.fromkeys(KEYS, "x") | {
        "value": 15234.5,
        "baseline_mean": 1234.5,
        "baseline_stddev": 234.2,
        "z_score": 59.8,
        "occurrences": 3,
        "first_seen": AT,
        "last_seen": AT,
        "labels": {"team": "search"},
        "sample_trace_ids": ["t1"],
    }
    return AnomalyData(**(values | changes))  # type: ignore[arg-type]


def test_the_body_has_exactly_the_documented_keys_in_their_order() -> None:
    body = json.loads(encode_body("anomaly.opened", AT, data()))
    assert list(body) == ["type", "timestamp", "data"]
    assert list(body["data"]) == KEYS
    assert body["type"] == "anomaly.opened"
    assert body["timestamp"] == "2024-11-06T10:25:00Z"
    assert body["data"]["z_score"] == 59.8


def test_times_of_other_zones_become_utc_and_naive_ones_are_refused() -> None:
    east = datetime(2024, 11, 6, 12, 25, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(encode_body("anomaly.opened", east, data()))["timestamp"] == "2024-11-06T10:25:00Z"
    with pytest.raises(ValueError, match="time zone"):
        encode_body("anomaly.opened", AT.replace(tzinfo=None), data())


@given(st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_a_number_that_json_does_not_know_becomes_null(number: float) -> None:
    assert json.loads(encode_body("anomaly.opened", AT, data(value=number)))["data"]["value"] is None


def test_the_documented_routing_key() -> None:
    assert routing_key("alert", "critical", "chat-api", "latency_spike") == "alert.critical.chat-api.latency_spike"


@given(st.text(max_size=128), st.text(max_size=32))
def test_no_name_adds_a_word_to_the_routing_key_or_makes_it_too_long(service: str, anomaly_type: str) -> None:
    key = routing_key("alert", "warning", service, anomaly_type)
    words = key.split(".")
    assert len(words) == 4
    assert all(words)
    assert key.isascii()
    assert len(key) <= 255
    assert not set("#* ") & set(key)
