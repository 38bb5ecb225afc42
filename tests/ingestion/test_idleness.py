"""Idle time counts as far as the broker says that there was nothing to read."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from ingestion import idleness
from ingestion.idleness import EndWatch, Idleness
from sentinel_site.standalone.broker import EmbeddedBroker
from tests.support.waiting import eventually

TOPIC = "llm.telemetry"
PLACES = [(TOPIC, 0), (TOPIC, 1)]


def answered(at: Idleness, *moments: float) -> float | None:
    for moment in moments:
        at.confirm(moment)
    return at.seconds()


def long_known() -> Idleness:
    """Of a partition that was taken over long before 0."""
    made = Idleness(since=-1000.0)
    made.interrupt(0.0)
    return made


def test_time_between_answers_is_idle_time() -> None:
    assert answered(long_known(), 2.0, 4.0, 11.0) == 11.0


def test_nothing_is_told_of_a_partition_just_taken_over() -> None:
    quiet = Idleness(since=0.0)
    answers = [answered(quiet, 5.0 * (1 + n)) for n in range(12)]
    assert answers == [None] * 11 + [idleness.RETURN_SECONDS]


def test_time_that_nobody_vouches_for_is_not_counted() -> None:
    quiet = long_known()
    assert answered(quiet, 5.0, 10.0) == 10.0
    outage = 500.0
    answered(quiet, outage)
    began = outage
    while quiet.seconds() is None:
        assert quiet.confirmed < outage + idleness.RETURN_SECONDS
        answered(quiet, quiet.confirmed + 5.0)
    assert quiet.seconds() == quiet.confirmed - began == idleness.RETURN_SECONDS


def test_a_message_begins_idle_time_anew() -> None:
    quiet = long_known()
    answered(quiet, 5.0, 10.0)
    quiet.interrupt(12.0)
    assert quiet.seconds() == 0.0
    assert answered(quiet, 15.0) == 3.0


def test_an_answer_from_before_the_last_message_says_nothing() -> None:
    quiet = long_known()
    quiet.interrupt(12.0)
    assert answered(quiet, 11.0) == 0.0
    assert quiet.since == 12.0


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker([TOPIC], partitions=2)
    yield made
    made.close()


def test_the_ends_of_partitions_are_asked_for_without_waiting(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idleness, "EVERY_SECONDS", 0.05)
    watch = EndWatch({"bootstrap.servers": broker.address})
    producer = Producer({"bootstrap.servers": broker.address})
    for _ in range(7):
        producer.produce(TOPIC, b"x", partition=1)
    assert producer.flush(10) == 0
    before = time.monotonic()
    eventually(lambda: watch.ends(PLACES)[1] == {PLACES[0]: 0, PLACES[1]: 7})
    assert watch.ends([])[0] >= before


def test_a_broker_that_is_gone_says_nothing(broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idleness, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(idleness, "ADMIN_SECONDS", 0.5)
    watch = EndWatch({"bootstrap.servers": broker.address, "log_level": 0})
    eventually(lambda: watch.ends(PLACES)[1])
    broker.close()
    closed = time.monotonic()

    def asked_in_vain() -> bool:
        asked, ends = watch.ends(PLACES)
        assert not (ends and asked > closed)
        return asked > closed + 1.0

    eventually(asked_in_vain)
