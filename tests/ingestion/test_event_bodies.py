"""Bodies of POST /api/v1/events: lines, compressed, and what is too much of either."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from ingestion.formats.splitting import split_events
from ingestion.reception import MAX_EVENT_BYTES
from sentinel_site.config.ingestion import KafkaConfig
from tests.ingestion.kafka_reading import landed
from tests.ingestion.malformed import good_event
from tests.support.catalogue import bearer, token

URL = "/api/v1/events"
JSON, LINES = "application/json", "application/x-ndjson"
GOOD = good_event(random.Random(5))
ONE = json.dumps(GOOD).encode()

pytestmark = pytest.mark.django_db


def post(client: Client, body: bytes, content_type: str = JSON, encoding: str = "identity") -> Any:
    headers = bearer(token("ingest")[1]) | {"Content-Encoding": encoding}
    return client.post(URL, body, content_type=content_type, headers=headers)


@pytest.mark.parametrize("content_type", [JSON, LINES, "application/jsonl; charset=utf-8"])
def test_lines_are_events(client: Client, kafka: KafkaConfig, content_type: str) -> None:
    answer = post(
        client, ONE + b"\r\n\n" + ONE.replace(b'"latency_ms": ', b'"latency_ms": -') + b"\n" + ONE, content_type
    )
    assert answer.status_code == 202
    document = answer.json()
    assert (document["accepted"], [each["index"] for each in document["rejected"]]) == (2, [1])
    assert len(landed(kafka.brokers[0], kafka.topic)) == 2


def test_of_lines_a_bad_first_one_spoils_no_other(client: Client, kafka: KafkaConfig) -> None:
    document = post(client, b"hello\n" + ONE, LINES).json()
    assert (document["accepted"], document["rejected"][0]["code"]) == (1, "invalid_json")


def test_an_event_over_several_lines_is_one(client: Client, kafka: KafkaConfig) -> None:
    assert post(client, json.dumps(GOOD, indent=2).encode()).json()["accepted"] == 1


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_taken(client: Client, kafka: KafkaConfig, encoding: str, pack: Any) -> None:
    answer = post(client, pack(b"[" + ONE + b"," + ONE + b"]"), encoding=encoding)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert len(landed(kafka.brokers[0], kafka.topic)) == 2


def test_a_bomb_is_refused_by_what_it_unpacks_to(client: Client, settings: Settings) -> None:
    api = settings.SENTINEL.api.model_copy(update={"max_body_size": 100_000})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"api": api})
    bomb = gzip.compress(b"[" + b" " * 5_000_000)
    answer = post(client, bomb, encoding="gzip")
    assert len(bomb) < 100_000
    assert (answer.status_code, "api.max_body_size" in answer.json()["detail"]) == (413, True)


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 400), ("deflate", 400), ("br", 415)])
def test_what_cannot_be_unpacked_is_refused(client: Client, encoding: str, status: int) -> None:
    assert post(client, b"\x1f\x8b", encoding=encoding).status_code == status


def test_an_event_too_large_spoils_no_other(client: Client, kafka: KafkaConfig) -> None:
    large = b'{"metadata":[' + b"{}," * (MAX_EVENT_BYTES // 3) + b"{}]}"
    document = post(client, b"[" + large + b"," + ONE + b"]").json()
    assert (document["accepted"], document["rejected"][0]["code"]) == (1, "out_of_range")
    assert str(MAX_EVENT_BYTES) in document["rejected"][0]["error"]


def test_lines_too_many_are_refused(client: Client) -> None:
    answer = post(client, b"1\n" * 10_001, LINES)
    assert (answer.status_code, "10000 events" in answer.json()["detail"]) == (413, True)


@pytest.mark.parametrize("body", [b"[,]", b"[1,,2]", b"[}]", b"[1}]", b'["]', b"[" + b"[" * 2000 + b"]" * 2001])
def test_an_array_is_not_guessed_at(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        list(split_events(body))
