"""POST /api/v1/events: what is accepted is in Kafka, what is not is named, and nobody writes for another project."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from baselines.models import Project, Service
from ingestion import reception
from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.splitting import split_events
from ingestion.formats.validation import Limits
from ingestion.kafka import KeyedProducer, client_settings, consumer_settings, ensure_topics
from ingestion.reception import claim_services
from sentinel_site.access.models import ApiToken
from sentinel_site.config.ingestion import KafkaConfig
from tests.ingestion.malformed import KINDS, good_event, malformed_messages
from tests.support.services import require
from tests.support.waiting import eventually

URL = "/api/v1/events"
NOW = datetime(2024, 11, 6, 12, tzinfo=UTC)
GOOD = good_event(random.Random(5))


def configure(settings: Settings, **kafka: Any) -> KafkaConfig:
    """Let the product use another Kafka."""
    config = KafkaConfig(**kafka)
    ingestion = settings.SENTINEL.ingestion.model_copy(update={"kafka": config})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"ingestion": ingestion})
    reception.forget_producer()
    return config


@pytest.fixture
def kafka(settings: Settings) -> Iterator[KafkaConfig]:
    """The real Kafka with a topic of this test's own."""
    config = configure(settings, brokers=(require("kafka"),), topic=f"test-{uuid.uuid4()}")
    ensure_topics(client_settings(config), [config.topic], 3, 1)
    yield config
    reception.forget_producer()


def arrived(config: KafkaConfig, count: int) -> list[tuple[bytes, Event]]:
    """Key and event of everything in the topic, once it holds `count` messages."""
    consumer = Consumer(consumer_settings(config, f"group-{uuid.uuid4()}", enable_partition_eof=True))
    consumer.assign([TopicPartition(config.topic, partition, OFFSET_BEGINNING) for partition in range(3)])
    found: list[tuple[bytes, Event]] = []
    ended: set[int] = set()

    def read() -> bool:
        for message in consumer.consume(100, 0.1):
            if message.error():
                ended.add(message.partition())
                continue
            event = native.decode(message.value(), received_ms=message.timestamp()[1], limits=Limits())
            found.append((message.key(), event))
        return len(ended) == 3

    try:
        eventually(read, deadline=15)
    finally:
        consumer.close()
    assert len(found) == count
    return found


def token(project: Project | None = None, scopes: tuple[str, ...] = ("ingest",)) -> dict[str, str]:
    """Headers of a fresh API token."""
    _, secret = ApiToken.issue(name="sender", scopes=list(scopes), project=project)
    return {"Authorization": f"Bearer {secret}"}


def post(client: Client, body: Any, headers: dict[str, str], **options: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(URL, data, content_type=options.pop("content_type", "application/json"), headers=headers)


@pytest.mark.django_db
def test_one_event_is_accepted_and_in_kafka_under_its_key(client: Client, kafka: KafkaConfig) -> None:
    answer = post(client, GOOD, token())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": []})
    ((key, event),) = arrived(kafka, 1)
    assert key == f"{GOOD['service_name']}|{GOOD['model_name']}".encode()
    assert (event.latency_ms, event.prompt_tokens) == (GOOD["latency_ms"], GOOD["prompt_tokens"])
    assert (event.cost_usd, event.metadata) == (GOOD["cost_usd"], GOOD["metadata"])


@pytest.mark.django_db
def test_an_embedding_is_passed_on_to_where_events_are_judged(client: Client, kafka: KafkaConfig) -> None:
    answer = post(client, GOOD | {"prompt": {"text": "Hello", "embedding": [0.5, -1e-3]}}, token())
    assert answer.json() == {"accepted": 1, "rejected": []}
    ((_, event),) = arrived(kafka, 1)
    assert json.loads(event.embedding) == [0.5, -1e-3]


@pytest.mark.django_db
def test_of_an_array_the_good_are_accepted_and_the_bad_are_named(client: Client, kafka: KafkaConfig) -> None:
    nested = {
        "timestamp": "2024-11-06T10:25:00Z",
        "service_name": "search",
        "model": "m",
        "latency_ms": 5,
        "prompt": {"tokens": 1},
        "response": {"tokens": 2},
    }
    answer = post(client, [GOOD, GOOD | {"latency_ms": -1}, 7, nested], token())
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 2,
        "rejected": [
            {
                "index": 1,
                "code": "negative",
                "field": "latency_ms",
                "error": "latency_ms: must not be negative",
            },
            {"index": 2, "code": "not_an_object", "field": "", "error": "must be a JSON object, not an integer"},
        ],
    }
    assert {event.service for _, event in arrived(kafka, 2)} == {GOOD["service_name"], "search"}


@pytest.mark.django_db
def test_where_nothing_can_be_used_the_request_is_bad(client: Client, kafka: KafkaConfig) -> None:
    answer = post(client, [GOOD | {"service_name": ""}], token())
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["accepted"], document["rejected"][0]["code"]) == (400, 0, "bad_name")
    arrived(kafka, 0)


@pytest.mark.django_db
def test_the_answer_says_what_was_repaired_in_accepted_events(client: Client, kafka: KafkaConfig) -> None:
    ahead = GOOD | {"timestamp": "2099-01-01T00:00:00Z", "total_tokens": 1}
    answer = post(client, [GOOD, GOOD | {"latency_ms": -1}, ahead, GOOD | {"latency_ms": 1e9}], token())
    assert answer.status_code == 202
    assert answer.json()["marked"] == [
        {"index": 2, "marks": ["total_corrected", "future"]},
        {"index": 3, "marks": ["clamped_latency"]},
    ]


@pytest.mark.django_db
def test_an_empty_array_is_accepted_as_nothing(client: Client) -> None:
    assert post(client, [], token()).json() == {"accepted": 0, "rejected": []}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [b"[", b"[{}", b"[{},]", b"[{} {}]", b"[1,2]x", b"[" * 100_000, b'["' + b"\xff" * 9, b"[{]", b"[nul]"],
)
def test_an_array_that_is_no_json_is_a_bad_request(client: Client, body: bytes) -> None:
    answer = post(client, body, token())
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
@pytest.mark.parametrize("body", [b"", b"hello", b'{"a":', b"\xff\xfe", b"null"])
def test_a_body_that_is_no_event_is_a_bad_request(client: Client, body: bytes) -> None:
    answer = post(client, body, token())
    assert (answer.status_code, answer.json()["accepted"]) == (400, 0)


@pytest.mark.django_db
def test_every_kind_of_malformed_message_is_answered(client: Client) -> None:
    headers = token()
    for payload, code in malformed_messages(len(KINDS), seed=11):
        if code != "array" and payload.count(b"service_name") < 2:  # several are welcome here
            assert (post(client, payload, headers).status_code, payload[:100]) == (400, payload[:100])


@pytest.mark.django_db
def test_a_body_too_large_is_refused(client: Client, settings: Settings) -> None:
    api = settings.SENTINEL.api.model_copy(update={"max_body_size": 1000})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"api": api})
    assert post(client, [GOOD] * 10, token()).status_code == 413


@pytest.mark.django_db
def test_too_many_events_are_refused_without_reading_them_all(client: Client) -> None:
    answer = post(client, b"[" + b"1," * 20_000 + b"1]", token())
    assert (answer.status_code, "10000 events" in answer.json()["detail"]) == (413, True)


@pytest.mark.django_db
def test_only_json_is_taken(client: Client) -> None:
    answer = post(client, b"a=b", token(), content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, "application/x-ndjson" in answer.json()["detail"]) == (415, True)


@pytest.mark.django_db
def test_without_the_scope_ingest_nothing_is_taken(client: Client) -> None:
    assert post(client, GOOD, {}).status_code == 401
    assert post(client, GOOD, token(scopes=("read", "write"))).status_code == 403
    viewer = User.objects.create_user("viewer")
    client.force_login(viewer)
    assert post(client, GOOD, {}).status_code == 403


@pytest.mark.django_db
def test_without_kafka_nothing_is_accepted(client: Client, settings: Settings) -> None:
    configure(settings, brokers=("127.0.0.1:1",))
    reception._producer = KeyedProducer(settings.SENTINEL.ingestion.kafka, message_timeout_ms=200)
    answer = post(client, [GOOD | {"latency_ms": "x"}, GOOD, GOOD], token())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert "2 events were not stored; send these again later (places from 0): 1, 2." in answer.json()["detail"]
    assert reception._producer is None


@pytest.mark.django_db
def test_what_kafka_refuses_is_named_and_the_rest_is_stored(client: Client, kafka: KafkaConfig) -> None:
    reception._producer = KeyedProducer(kafka, message_max_bytes=1500)
    big = GOOD | {"metadata": {f"k{number}": "v" * 1000 for number in range(60)}}
    answer = post(client, [GOOD, big, GOOD], token())
    assert answer.status_code == 503
    assert "1 events were not stored; send these again later (places from 0): 1." in answer.json()["detail"]
    arrived(kafka, 2)


@pytest.mark.django_db
def test_a_token_writes_to_the_services_of_its_project_only(client: Client, kafka: KafkaConfig) -> None:
    ours, theirs = Project.objects.create(name="ours"), Project.objects.create(name="theirs")
    Service.objects.create(name="their-api", project=theirs, first_seen=NOW, last_seen=NOW)
    batch = [GOOD | {"service_name": name} for name in ("new-api", "their-api", "new-api")]
    document = post(client, batch, token(ours)).json()
    assert document["accepted"] == 2
    assert [(refused["index"], refused["code"]) for refused in document["rejected"]] == [(1, "foreign_service")]
    assert Service.objects.get(name="new-api").project == ours
    assert {event.service for _, event in arrived(kafka, 2)} == {"new-api"}
    assert post(client, batch[:1], token(theirs)).status_code == 400


@pytest.mark.django_db
def test_a_token_of_no_project_writes_anywhere_and_creates_nothing() -> None:
    assert claim_services({"a", "b"}, None, NOW) == set()
    assert not Service.objects.exists()


@pytest.mark.django_db
def test_somebody_without_projects_writes_nothing() -> None:
    assert claim_services({"a"}, (), NOW) == {"a"}


@pytest.mark.django_db
def test_of_several_projects_the_default_one_takes_a_new_service() -> None:
    first = Project.objects.create(name="first")
    default = Project.objects.get_or_create(name="default")[0]
    claim_services({"a"}, [first.pk, default.pk], NOW)
    claim_services({"b"}, [first.pk], NOW)
    assert Service.objects.get(name="a").project == default
    assert Service.objects.get(name="b").project == first


def test_a_body_is_split_at_its_elements_whatever_they_hold() -> None:
    items = [b'{"a": "]},{"}', b"[1, [2]]", b"NaN", b'"\\ud800"', b"9" * 6000, b'{"a":"\xff"}', b'"caf\xc3\xa9"']
    for separator in (b",", b" ,\n\t"):
        assert list(split_events(b" [ " + separator.join(items) + b" ] \n")) == items
    assert list(split_events(b' {"a": 1} ')) == [b'{"a": 1}']
    assert list(split_events(b"[ ]")) == []


def test_the_producer_of_a_process_is_made_once(settings: Settings) -> None:
    configure(settings, brokers=("127.0.0.1:1",))
    assert reception.producer() is reception.producer()
    before = reception.producer()
    reception.forget_producer()
    assert reception.producer() is not before
    reception.forget_producer()
