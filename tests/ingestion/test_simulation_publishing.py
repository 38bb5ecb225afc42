"""Simulated events on their way: when they are sent, what is missing of the past, and waiting for consumers."""

from datetime import UTC, datetime, timedelta
from itertools import chain
from threading import Event as Stop
from uuid import UUID

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from baselines.models import TelemetryMinute
from ingestion.backpressure import EMBEDDED_LAG, Brake, ConsumerLag
from ingestion.pacing import GRAIN_NS, WallClock
from ingestion.publishing import Publisher
from ingestion.simulation.fleet import fleet
from ingestion.simulation.generator import Traffic
from ingestion.simulation.traffic import demo_traffic, missing_since, nanoseconds, publishing
from sentinel_site.config.ingestion import KafkaConfig
from sentinel_site.standalone.broker import EmbeddedBroker
from tests.ingestion.kafka_reading import landed
from tests.support.clock import ManualClock

SECOND = 10**9
NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)
NOW = nanoseconds(NOON)
TOPIC = "llm.telemetry"


class Published:
    """Takes what a Publisher takes, and remembers when."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.at: list[int] = []

    def publish(self, service: str, model: str, payload: bytes) -> None:
        self.at.append(self._clock.now_ns())


def drive(since: dict[str, int], end_ns: int | None = None, stop_at_ns: int | None = None):
    """Run `publishing` at noon; the times of sending, the positions it told, the clock."""
    clock = ManualClock(NOW, stop_at_ns)
    published = Published(clock)
    positions = list(publishing(Traffic(fleet(2), 20, 1), published, clock, since, end_ns))  # type: ignore[arg-type]
    return published.at, positions, clock


def expected(start_ns: int, end_ns: int) -> list[int]:
    return [e.timestamp_ns for e in chain.from_iterable(Traffic(fleet(2), 20, 1).batches(start_ns, end_ns))]


def test_the_past_is_sent_at_once():
    since = {"chat-api": NOW - 600 * SECOND, "code-assistant": NOW - 600 * SECOND}
    sent, positions, clock = drive(since, NOW)
    assert sent == [NOW] * len(expected(NOW - 600 * SECOND, NOW))
    assert clock.waits == []
    assert len(positions) == 60


def test_the_present_is_sent_as_it_happens():
    since = {"chat-api": NOW, "code-assistant": NOW}
    sent, _, clock = drive(since, NOW + 30 * SECOND)
    assert sent == pytest.approx(expected(NOW, NOW + 30 * SECOND), abs=GRAIN_NS)
    assert clock.now_ns() == pytest.approx(NOW + 30 * SECOND, abs=GRAIN_NS)


def test_a_stop_ends_endless_traffic():
    sent, _, clock = drive({"chat-api": NOW, "code-assistant": NOW}, stop_at_ns=NOW + 5 * SECOND)
    assert len(sent) == pytest.approx(5 * 26, rel=0.25)
    assert clock.now_ns() < NOW + 6 * SECOND


def minute(service: str, at: datetime) -> None:
    TelemetryMinute.objects.create(
        topic_id=UUID(int=1),
        partition=0,
        first_offset=int(at.timestamp()),
        last_offset=1,
        service=service,
        model="m",
        minute=at,
        count=1,
        errors=0,
        cost_usd=0,
        prompt_tokens=0,
        completion_tokens=0,
        total_tokens=0,
        unpriced_calls=0,
        unpriced_tokens=0,
        sketches=b"",
    )


@pytest.mark.django_db
def test_missing_is_what_follows_the_newest_minute_and_no_more_than_was_asked_for():
    minute("known", NOON - timedelta(hours=2))
    minute("known", NOON - timedelta(minutes=30))
    minute("long-ago", NOON - timedelta(days=3))
    minute("ahead", NOON)
    since = missing_since(["known", "long-ago", "never", "ahead"], NOON, timedelta(hours=6))
    assert since == {
        "known": nanoseconds(NOON - timedelta(minutes=29)),
        "long-ago": nanoseconds(NOON - timedelta(hours=6)),
        "never": nanoseconds(NOON - timedelta(hours=6)),
        "ahead": NOW,
    }


def test_the_demo_has_an_incident_soon_and_some_in_its_past():
    schedule = demo_traffic(NOW).schedule
    soon = list(schedule.during(NOW, NOW + 90 * SECOND))
    assert [i.start_ns for i in soon] == [NOW + 60 * SECOND]
    past = list(schedule.during(NOW - 6 * 3600 * SECOND, NOW))
    assert len(past) in (12, 13)
    assert len({i.scenario.name for i in past}) > 3


class Lag:
    """Consumers that take `pace` messages whenever they are looked at."""

    def __init__(self, pace: int) -> None:
        self.pace = pace
        self.behind = 0
        self.most = 0

    def __call__(self) -> int:
        self.behind = max(self.behind - self.pace, 0)
        return self.behind


@pytest.mark.parametrize("pace", [1, 7, 100, 10_000])
def test_the_brake_keeps_the_lag_below_its_limit(pace):
    lag = Lag(pace)
    brake = Brake(lag, lambda: None, 1000, ManualClock(NOW))
    for _ in range(20_000):
        brake.hold()
        lag.behind += 1
        lag.most = max(lag.most, lag.behind)
    assert lag.most <= 1000


def test_consumers_that_were_behind_before_are_waited_for_before_the_first_message():
    lag = Lag(100)
    lag.behind = 5000
    Brake(lag, lambda: None, 1000, ManualClock(NOW)).hold()
    assert lag.behind <= 750


def test_a_lag_that_nobody_can_tell_is_waited_for_and_a_stop_ends_the_waiting():
    def unknown() -> int:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    clock = ManualClock(NOW, stop_at_ns=NOW + 30 * SECOND)
    Brake(unknown, lambda: None, 1000, clock).hold()
    assert clock.now_ns() >= NOW + 30 * SECOND


@pytest.fixture
def embedded():
    broker = EmbeddedBroker([TOPIC], 2)
    yield KafkaConfig(brokers=(broker.address,))
    broker.close()


def commit(kafka: KafkaConfig, role: str, offsets: dict[int, int]) -> None:
    consumer = Consumer({**kafka.connection(), "group.id": kafka.group(role)})
    consumer.commit(offsets=[TopicPartition(TOPIC, p, o) for p, o in offsets.items()], asynchronous=False)
    consumer.close()


def test_the_lag_is_that_of_the_slowest_group_in_its_worst_partition(embedded):
    with Publisher(embedded, TOPIC, WallClock(Stop()), max_lag=0) as publisher:
        for n in range(300):
            publisher.publish("s", f"m{n % 10}", b"{}")
    sizes = [sum(m.partition == p for m in landed(embedded.brokers[0], TOPIC)) for p in (0, 1)]
    assert min(sizes) > 0
    lag = ConsumerLag(embedded.connection(), TOPIC, [embedded.group("detect"), embedded.group("store")])
    assert lag.worst() == max(sizes)  # nothing committed: everything is ahead
    commit(embedded, "detect", {0: sizes[0], 1: sizes[1]})
    commit(embedded, "store", {0: sizes[0], 1: sizes[1] - 4})
    assert lag.worst() == 4
    commit(embedded, "store", {1: sizes[1]})
    assert lag.worst() == 0
    lag.close()


def test_a_publisher_waits_for_the_consumers_of_an_embedded_broker_by_itself(embedded):
    stop = Stop()
    held = 0

    class Impatient(WallClock):
        def wait(self, seconds: float) -> bool:
            nonlocal held
            held += 1
            stop.set()
            return super().wait(seconds)

    payload = b'{"filler": "' + b"x" * 400 + b'"}'
    with Publisher(embedded, TOPIC, Impatient(stop)) as publisher:
        while not held:
            publisher.publish("s", "m", payload)
    assert EMBEDDED_LAG * 0.7 < publisher.sent <= EMBEDDED_LAG + 1  # the stop let the last one through
    assert len(landed(embedded.brokers[0], TOPIC)) == publisher.sent  # nothing was dropped meanwhile
