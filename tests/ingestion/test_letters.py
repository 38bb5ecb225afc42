"""Dead letters in the real Kafka: listed, shown, and replayed once each to where they came from."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from ingestion.dead_letters import Record, dead_letter, headers
from ingestion.formats import native
from ingestion.formats.validation import Limits, Rejection
from ingestion.kafka import (
    EMBEDDED_ID_VARIABLE,
    KeyedProducer,
    NotDelivered,
    client_settings,
    ensure_topics,
    topic_ids,
)
from ingestion.letter_replay import ALREADY, REPLAYED, STILL_BAD, UNDELIVERED, Outcome, Replay
from ingestion.letters import UNREADABLE, Choice, Letter, LetterBox, LetterPlace, counted
from ingestion.models import ReplayedLetter, TelemetryEvent
from ingestion.telemetry_store.database import DatabaseStore
from sentinel_site.config.ingestion import KafkaConfig
from sentinel_site.standalone.broker import EmbeddedBroker
from tests.ingestion.kafka_reading import landed
from tests.ingestion.stores import detection
from tests.support import catalogue
from tests.support.services import require

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD = {
    "timestamp": "2026-03-02T10:25:00Z",
    "service_name": "chat-api",
    "model_name": "gpt-4",
    "latency_ms": 12.5,
    "prompt_tokens": 5,
    "completion_tokens": 7,
    "prompt_text": "tell nobody",
}
NEGATIVE = Rejection("negative", "latency_ms", "must not be negative")


class Post:
    """A Kafka with topics of this test's own, into which messages and dead letters about them are put."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.kafka = config.ingestion.kafka
        ensure_topics(client_settings(self.kafka), self.topics, 1, 1)
        self._producer = KeyedProducer(self.kafka)

    @property
    def topics(self) -> list[str]:
        return [self.kafka.topic, self.kafka.detections_topic, self.kafka.dead_letter_topic, self.other]

    @property
    def other(self) -> str:
        """A topic of no native events."""
        return f"{self.kafka.topic}.otlp"

    def refuse(
        self, payload: Any, rejection: Rejection = NEGATIVE, topic: str = "", key: bytes | None = None, times: int = 1
    ) -> None:
        """Send a message and dead letters about it, as the detect role writes them."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        message = self.send(topic or self.kafka.topic, body, key)
        for _ in range(times):
            self.send_letter(message, rejection)

    def send_letter(self, message: Record | Message, rejection: Rejection = NEGATIVE) -> None:
        value = dead_letter(message, rejection, patterns=("password",))
        self._producer.send(self.kafka.dead_letter_topic, value, None, headers(rejection))
        self._producer.flush(10)

    def send(self, topic: str, body: bytes, key: bytes | None = None) -> Record:
        """Returns the record of the message."""
        self._producer.send(topic, body, key, timestamp_ms=int(NOW.timestamp() * 1000))
        self._producer.flush(10)
        offset = len(landed_raw(self.kafka, topic)) - 1
        return Record(topic, 0, offset, int(NOW.timestamp() * 1000), body)

    def letters(self, **choice: Any) -> list[Letter]:
        with LetterBox(self.kafka) as box:
            return list(box.letters(Choice(**choice)))

    def replay(self, letters: list[Letter] | None = None, now: datetime = NOW, **options: Any) -> list[Outcome]:
        with LetterBox(self.kafka) as box:
            replay = Replay(self.config, box, DatabaseStore(), "otto")
            return replay.replay(box.letters() if letters is None else letters, now, **options)

    def arrived(self) -> list[dict[str, Any]]:
        """What is in the telemetry topic, as JSON where it is JSON."""
        return [message.value for message in landed(self.brokers, self.kafka.topic)]

    @property
    def brokers(self) -> str:
        return ",".join(self.kafka.brokers)


def landed_raw(kafka: Any, topic: str) -> list[int]:
    """The offsets of a topic of one partition."""
    with LetterBox(kafka) as box:
        low, high = box._bounds(topic, 0)
        return list(range(low, high))


@pytest.fixture
def post(settings: Settings) -> Iterator[Post]:
    name = f"letters-{uuid.uuid4()}"
    kafka = KafkaConfig(
        brokers=(require("kafka"),),
        topic=f"{name}.telemetry",
        detections_topic=f"{name}.detections",
        dead_letter_topic=f"{name}.dlq",
    )
    ingestion = settings.SENTINEL.ingestion.model_copy(update={"kafka": kafka})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"ingestion": ingestion})
    made = Post(settings.SENTINEL)
    yield made
    admin = AdminClient(client_settings(kafka))
    for future in admin.delete_topics(made.topics).values():
        future.result()


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("dead_letters", *words, stdout=out)
    return out.getvalue()


def outcomes(told: list[Outcome]) -> list[str]:
    return [outcome.what for outcome in told]


def mended(post: Post, count: int = 1) -> None:
    """Letters about messages that can be used now: what refused them then was mended since."""
    for _ in range(count):
        post.refuse(GOOD)


def test_letters_are_counted_by_reason_and_topic_and_filtered(post: Post) -> None:
    post.refuse(GOOD, times=3)
    post.refuse(b"{", Rejection("invalid_json", "", "is not JSON"))
    post.send(post.kafka.dead_letter_topic, b"not ours")
    tallies = [(key[0], tally.count) for key, tally in counted(post.letters())]
    assert tallies == [("negative", 3), ("invalid_json", 1), (UNREADABLE, 1)]
    assert [letter.reason for letter in post.letters(reasons=["invalid_json"])] == ["invalid_json"]
    assert post.letters(topics=["other"]) == []
    (first, *_) = post.letters()
    assert len(post.letters(since=first.written_at)) == 4  # the foreign one bears the time it was given
    assert post.letters(since=first.written_at + timedelta(hours=1)) == []
    assert len(post.letters(until=first.written_at + timedelta(hours=1))) == 5


def test_the_commands_list_and_show_what_there_is(post: Post) -> None:
    post.refuse(GOOD | {"latency_ms": -1, "metadata": {"password": "hunter2"}})
    listed = run("list")
    assert "negative" in listed
    assert "1 dead letters" in listed
    assert f"{post.kafka.topic}[0]@0" in run("list", "--each")
    shown = json.loads(run("show", "0:0"))
    assert (shown["reason"], shown["field"], shown["in_kafka"]) == ("negative", "latency_ms", True)
    assert json.loads(shown["payload"])["latency_ms"] == -1
    assert "hunter2" not in shown["payload"]
    with pytest.raises(CommandError, match="there is no dead letter 0:9"):
        run("show", "0:9")


@pytest.mark.django_db
def test_a_mended_message_goes_back_to_its_topic_under_its_key(post: Post) -> None:
    mended(post)
    assert outcomes(post.replay()) == [REPLAYED]
    _, second = landed(post.brokers, post.kafka.topic)
    assert second.key == b"chat-api|gpt-4"
    event = native.decode(msgspec.json.encode(second.value), received_ms=int(NOW.timestamp() * 1000), limits=Limits())
    assert (event.service, event.latency_ms, event.total_tokens) == ("chat-api", 12.5, 12)
    (row,) = ReplayedLetter.objects.all()
    assert (row.topic, row.partition, row.offset, row.actor) == (post.kafka.topic, 0, 0, "otto")
    assert row.replayed_at == NOW


@pytest.mark.django_db
def test_a_replayed_message_is_scrubbed_like_any_other(post: Post) -> None:
    post.refuse(GOOD | {"metadata": {"contact": "write to ann@example.org"}})
    post.replay()
    first, second = post.arrived()
    assert "ann@example.org" in str(first)
    assert "ann@example.org" not in str(second)


@pytest.mark.django_db
def test_nothing_is_replayed_twice_however_many_letters_there_are_of_it(post: Post) -> None:
    post.refuse(GOOD, times=2)
    assert sorted(outcomes(post.replay())) == [REPLAYED, ALREADY]
    assert outcomes(post.replay()) == [ALREADY, ALREADY]
    assert len(post.arrived()) == 2


@pytest.mark.django_db
def test_a_message_without_an_id_is_sent_with_the_same_one_every_time(post: Post) -> None:
    mended(post)
    post.replay()
    ReplayedLetter.objects.all().delete()  # a crash between the sending and the note of it
    post.replay()
    _, first, second = post.arrived()
    assert first["event_id"] == second["event_id"]
    assert first["event_id"]


@pytest.mark.django_db
def test_an_id_of_its_own_stays(post: Post) -> None:
    post.refuse(GOOD | {"event_id": "mine"})
    post.replay()
    assert post.arrived()[1]["event_id"] == "mine"


@pytest.mark.django_db
def test_what_is_still_unusable_stays_a_dead_letter_and_may_be_tried_again(post: Post) -> None:
    post.refuse(GOOD | {"latency_ms": -1})
    for _ in range(2):
        (outcome,) = post.replay()
        assert outcome.what == STILL_BAD
        assert "latency_ms" in outcome.why
    assert len(post.arrived()) == 1
    assert not ReplayedLetter.objects.exists()


@pytest.mark.django_db
def test_without_the_original_the_stored_payload_is_used(post: Post) -> None:
    gone = Record(post.kafka.topic, 0, 4711, int(NOW.timestamp() * 1000), json.dumps(GOOD).encode())
    post.send_letter(gone)
    assert outcomes(post.replay()) == [REPLAYED]
    assert post.arrived()[0]["service_name"] == "chat-api"


@pytest.mark.django_db
def test_a_later_message_at_the_same_offset_is_not_taken_for_the_original(post: Post) -> None:
    post.send(post.kafka.topic, json.dumps(GOOD | {"service_name": "somebody-else"}).encode())
    former = Record(post.kafka.topic, 0, 0, int(NOW.timestamp() * 1000) - 5000, json.dumps(GOOD).encode())
    post.send_letter(former)
    post.replay()
    assert [row["service_name"] for row in post.arrived()] == ["somebody-else", "chat-api"]


@pytest.mark.django_db
def test_a_message_of_another_topic_goes_back_as_it_was(post: Post) -> None:
    post.refuse(b"\x0a\x00 whole", Rejection("invalid_protobuf", "", "is cut off"), post.other, b"trace")
    about = post.letters()[0].offset
    assert outcomes(post.replay()) == [REPLAYED]
    with LetterBox(post.kafka) as box:
        *_, last = box._pick(post.other, 0, [about, about + 1])
    assert (last.value(), last.key()) == (b"\x0a\x00 whole", b"trace")


@pytest.mark.django_db
def test_what_the_store_refused_goes_to_the_store_and_not_through_detection_again(post: Post) -> None:
    event = native.decode(json.dumps(GOOD).encode(), received_ms=int(NOW.timestamp() * 1000), limits=Limits())
    event.event_id = "e-1"
    refused = Rejection("refused_by_store", "", "column is of another type")
    post.send_letter(Record(post.kafka.topic, 0, 17, None, native.encode(event)), refused)
    for offset in (1, 2):
        body = msgspec.json.encode(detection(offset=offset))
        post.send_letter(Record(post.kafka.detections_topic, 0, 99, None, body), refused)
    assert outcomes(post.replay()) == [REPLAYED] * 3
    row = TelemetryEvent.objects.get()
    (topic_id,) = topic_ids(client_settings(post.kafka), [post.kafka.topic]).values()
    assert (row.event_id, row.topic_id, row.offset) == ("e-1", topic_id, 17)
    assert post.arrived() == []


@pytest.mark.django_db
def test_a_topic_that_is_gone_is_said_to_be(post: Post) -> None:
    post.send_letter(Record("was-deleted", 0, 0, 1, b"{}"))
    (outcome,) = post.replay()
    assert (outcome.what, outcome.why) == (STILL_BAD, "the topic was-deleted does not exist any more")


@pytest.mark.django_db
def test_what_kafka_does_not_take_may_be_replayed_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    mended(post)

    def lose(*_: Any) -> None:
        raise NotDelivered([(0, "broker away")])

    with monkeypatch.context() as broken:
        broken.setattr("ingestion.kafka.Batch.wait", lose)
        assert outcomes(post.replay()) == [UNDELIVERED]
    assert outcomes(post.replay()) == [REPLAYED]


@pytest.mark.django_db
def test_what_somebody_else_is_just_replaying_is_left_to_them_unless_they_died_over_it(post: Post) -> None:
    mended(post)
    post.replay()
    ReplayedLetter.objects.update(replayed_at=None)
    assert outcomes(post.replay(now=NOW + timedelta(seconds=60))) == [ALREADY]
    assert outcomes(post.replay(now=NOW + timedelta(seconds=150))) == [REPLAYED]


@pytest.mark.django_db
def test_a_dry_run_says_what_would_become_of_each_and_sends_nothing(post: Post) -> None:
    mended(post)
    post.refuse(GOOD | {"latency_ms": -1})
    assert "dry run: 1 replayed, 1 still unusable" in run("replay", "--all", "--dry-run")
    assert len(post.arrived()) == 2
    assert not ReplayedLetter.objects.exists()


@pytest.mark.django_db
def test_the_command_replays_the_letters_that_were_named_or_filtered(post: Post) -> None:
    mended(post, 3)
    post.refuse(b"{", Rejection("invalid_json", "", "is not JSON"))
    assert run("replay", "0:1") == "1 replayed\n"
    assert run("replay", "--reason", "negative").splitlines()[-1] == "2 replayed, 1 replayed before"
    assert "1 still unusable" in run("replay", "--reason", "invalid_json")
    with pytest.raises(CommandError, match="say which letters"):
        run("replay")
    with pytest.raises(CommandError, match="not both"):
        run("replay", "0:1", "--all")
    with pytest.raises(CommandError, match="there is no dead letter 0:99"):
        run("replay", "0:99")


@pytest.mark.parametrize("text", ["", "1", "a:b", "1:", ":1", "-1:0"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="partition:offset"):
        LetterPlace.parse(text)


@pytest.mark.django_db
def test_a_thousand_letters_are_replayed_in_their_order(post: Post) -> None:
    topic, body = post.kafka.topic, json.dumps(GOOD).encode()
    producer = KeyedProducer(post.kafka)
    stamp = int(NOW.timestamp() * 1000)
    for offset in range(1000):
        producer.send(topic, body, timestamp_ms=stamp)
        letter = dead_letter(Record(topic, 0, offset, stamp, body), NEGATIVE)
        producer.send(post.kafka.dead_letter_topic, letter)
    producer.flush(10)
    told = post.replay()
    assert set(outcomes(told)) == {REPLAYED}
    assert [outcome.letter.offset for outcome in told] == list(range(1000))
    assert len({row.get("event_id") for row in post.arrived()[1000:]}) == 1000


# In the admin

PAGE = "/admin/ingestion/replayedletter/"


def person(group: str | None = None, **values: Any) -> Client:
    client = Client()
    client.force_login(catalogue.person(group or "root", group, **values))
    return client


@pytest.mark.django_db
def test_the_page_shows_reasons_with_counts_and_replays_them(post: Post) -> None:
    mended(post, 2)
    operator = person("operator")
    page = operator.get(PAGE).content.decode()
    assert f"negative: 2 of {post.kafka.topic}" in page
    form = {"reason": "negative", "topic": post.kafka.topic}
    answer = operator.post(f"{PAGE}replay/", form, follow=True).content.decode()
    assert "2 replayed." in answer
    assert len(post.arrived()) == 4
    assert set(ReplayedLetter.objects.values_list("actor", flat=True)) == {"operator"}
    assert "2 replayed before." in operator.post(f"{PAGE}replay/", form, follow=True).content.decode()


@pytest.mark.django_db
def test_the_payload_of_a_letter_is_for_those_who_see_all_projects(post: Post) -> None:
    post.refuse(GOOD | {"latency_ms": -1, "model_name": "<script>"})
    root = person(is_superuser=True)
    page = root.get(f"{PAGE}0/0/").content.decode()
    assert "still in Kafka" in page
    assert "&lt;script&gt;" in page
    assert "<script>&quot;" not in page
    assert root.get(f"{PAGE}0/7/").status_code == 404
    answer = root.post(f"{PAGE}replay/", {"place": "0:0"}, follow=True).content.decode()
    assert "1 still unusable (latency_ms: must not be negative)." in answer
    assert person("operator").get(f"{PAGE}0/0/").status_code == 403


@pytest.mark.django_db
def test_viewers_see_the_counts_and_replay_nothing(post: Post) -> None:
    mended(post)
    viewer = person("viewer")
    assert "negative: 1" in viewer.get(PAGE).content.decode()
    assert viewer.post(f"{PAGE}replay/", {"place": "0:0"}).status_code == 403
    assert Client().post(f"{PAGE}replay/", {"place": "0:0"}).status_code == 302
    assert len(post.arrived()) == 1


@pytest.mark.django_db
def test_the_page_says_that_kafka_does_not_answer(settings: Settings) -> None:
    kafka = settings.SENTINEL.ingestion.kafka.model_copy(update={"brokers": ("127.0.0.1:1",)})
    ingestion = settings.SENTINEL.ingestion.model_copy(update={"kafka": kafka})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"ingestion": ingestion})
    assert "Kafka does not answer" in person("operator").get(PAGE).content.decode()


@pytest.mark.django_db
def test_the_embedded_broker_will_do_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("t", "d", "q", "t.otlp")
    broker = EmbeddedBroker(names, 1)
    monkeypatch.setenv(EMBEDDED_ID_VARIABLE, str(uuid.uuid4()))
    kafka = KafkaConfig(brokers=(broker.address,), topic="t", detections_topic="d", dead_letter_topic="q")
    ingestion = settings.SENTINEL.ingestion.model_copy(update={"kafka": kafka})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"ingestion": ingestion})
    try:
        post = Post(settings.SENTINEL)
        mended(post, 2)
        assert "2 replayed" in run("replay", "--reason", "negative")
        assert "2 replayed before" in run("replay", "--all")
        assert len(post.arrived()) == 4
    finally:
        broker.close()
