"""Anomalies of a service that overlap in time are one incident, whoever writes them and in whatever order."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from itertools import permutations

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from anomalies import incidents, lifecycle
from anomalies.detection.excess import Excess
from anomalies.detection.verdicts import Episode
from anomalies.incidents import SLACK, Span, homes, incident_id
from anomalies.models import Anomaly, Incident
from anomalies.record import end_abandoned
from tests.anomalies.episodes import episode, record
from tests.support import catalogue
from tests.support.catalogue import NOON, TOPIC_ID
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db
SLACK_SECONDS = SLACK.total_seconds()


def groups() -> set[frozenset[uuid.UUID]]:
    """The anomalies of each incident."""
    return {frozenset(one.anomalies.values_list("id", flat=True)) for one in Incident.objects.current()}


def only() -> Incident:
    return Incident.objects.current().get()


def span(begin: float, end: float, number: int) -> Span:
    return Span(NOON + timedelta(seconds=begin), uuid.UUID(int=number), NOON + timedelta(seconds=end))


def test_spans_within_the_slack_are_one_and_beyond_it_two():
    together = homes([span(0, 10, 1), span(10 + SLACK_SECONDS, 200, 2)])
    apart = homes([span(0, 10, 1), span(10.001 + SLACK_SECONDS, 200, 2)])
    assert (set(together.values()), set(apart.values())) == ({uuid.UUID(int=1)}, {uuid.UUID(int=1), uuid.UUID(int=2)})


def test_a_short_span_within_a_long_one_does_not_end_it():
    assert len(set(homes([span(0, 1000, 1), span(10, 20, 2), span(900, 910, 3)]).values())) == 1


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 300)), min_size=1, max_size=12), st.randoms())
def test_what_arrives_in_any_order_and_in_any_parts_ends_in_the_same_groups(times, random):
    spans = [span(begin, begin + length, number) for number, (begin, length) in enumerate(times)]
    expected = homes(spans)
    random.shuffle(spans)
    known: dict[uuid.UUID, Span] = {}
    home: dict[uuid.UUID, uuid.UUID] = {}
    for one in spans:
        moved = homes([*known.values(), one])
        home = {incident: moved[to] for incident, to in home.items()} | {one.incident: moved[one.incident]}
        hulls: dict[uuid.UUID, Span] = {}
        for part in (*known.values(), one):
            to = moved[part.incident]
            hull = hulls.get(to, part._replace(incident=to))
            hulls[to] = Span(min(hull.first_seen, part.first_seen), to, max(hull.last_seen, part.last_seen))
        known = hulls
    assert home == expected


def test_one_fault_that_moves_three_metrics_is_one_incident():
    faults = [
        episode(1, 0, 60),
        episode(2, 20, 90, metric="cost_usd", severity="critical", score=4.0),
        episode(3, 100, 200, metric="total_tokens", model="gpt-5"),
    ]
    record(faults)
    incident = only()
    assert incident.id == incident_id(faults[0].id)
    assert (incident.title, incident.type) == ("Cost anomaly in chat-api (gpt-4) and 2 more", "cost_anomaly")
    assert (incident.severity, incident.anomaly_count, incident.state) == ("critical", 3, "active")
    assert (incident.first_seen, incident.last_seen) == (NOON, NOON + timedelta(seconds=200))


def test_anomalies_of_other_services_or_times_are_other_incidents():
    one, other, later = episode(1, 0), episode(2, 0, service="search"), episode(3, 1000)
    record([one, other, later])
    assert groups() == {frozenset([one.id]), frozenset([other.id]), frozenset([later.id])}


def bridging() -> list[tuple[int, Episode]]:
    """Two apart, one that connects them, one alone; of two partitions."""
    return [
        (0, episode(1, 0, 10)),
        (1, episode(2, 400, 410, partition=1, metric="cost_usd")),
        (0, episode(3, 100, 300, metric="ttft_ms")),
        (1, episode(4, 2000, partition=1, metric="total_tokens")),
    ]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_partitions_may_write_in_any_order(order):
    written = bridging()
    for place in order:
        record([written[place][1]], written[place][0])
    first, second, bridge, alone = (one for _, one in written)
    assert groups() == {frozenset([first.id, second.id, bridge.id]), frozenset([alone.id])}
    assert set(Incident.objects.current().values_list("id", flat=True)) == {incident_id(e.id) for e in (first, alone)}


def test_the_younger_of_two_merged_incidents_leads_to_the_older_also_after_a_second_merge():
    record([episode(2, 400, 410), episode(3, 800, 810, metric="cost_usd")])
    record([episode(4, 410, 800, metric="ttft_ms")])
    record([episode(1, 250, 300, metric="total_tokens")])
    oldest = only()
    assert oldest.id == incident_id(episode(1, metric="total_tokens").id)
    assert set(Incident.objects.exclude(pk=oldest.pk).values_list("merged_into", "anomaly_count")) == {(oldest.pk, 0)}
    assert Incident.objects.count() == 3


def test_a_replay_changes_nothing():
    written = bridging()
    for partition, one in written:
        record([one], partition)
    before = list(Incident.objects.order_by("id").values())
    for partition, one in reversed(written):
        record([one], partition)
    assert list(Incident.objects.order_by("id").values()) == before


def test_an_episode_that_grows_reaches_the_next_incident():
    record([episode(1, 0, 10), episode(2, 300, metric="cost_usd")])
    assert Incident.objects.current().count() == 2
    record([episode(1, 0, 200)])
    assert only().anomaly_count == 2


def test_an_incident_ends_with_the_last_of_its_anomalies():
    record([episode(1, 0, 10), episode(2, 5, 10, metric="cost_usd")])
    record([episode(1, 0, 20, state="ended")])
    assert only().state == "active"
    record([episode(2, 5, 30, metric="cost_usd", state="adopted")])
    assert only().state == "ended"


def test_abandoned_anomalies_end_their_incident():
    record([episode(1, 0)])
    assert end_abandoned(TOPIC_ID, 0, [], 100, NOON) == 1
    assert only().state == "ended"


def test_what_people_do_shows_in_the_incident():
    record([episode(1, 0), episode(2, 5, metric="cost_usd")])
    ann = catalogue.person("ann")
    seen = []
    for act in (
        lambda: lifecycle.acknowledge(Anomaly.objects.filter(metric="cost_usd"), ann),
        lambda: lifecycle.acknowledge(Anomaly.objects.all(), ann),
        lambda: lifecycle.resolve(Anomaly.objects.filter(metric="cost_usd"), ann),
        lambda: lifecycle.resolve(Anomaly.objects.all(), ann),
        lambda: record([episode(3, 20, metric="total_tokens")]),
    ):
        act()
        seen.append(only().status)
    assert seen == ["open", "acknowledged", "acknowledged", "resolved", "open"]


def test_a_flush_of_hundreds_of_episodes_costs_no_query_for_each():
    catalogue.service("chat-api")

    def queries(count: int, first: int) -> int:
        metrics = ("latency_ms", "cost_usd", "total_tokens")
        batch = [episode(first + n, n * 500, metric=metrics[n % 3]) for n in range(count)]
        with CaptureQueriesContext(connection) as captured:
            record(batch)
        return len(captured)

    few, many = queries(3, 1), queries(400, 10_000)
    assert many - few <= 400 / 10  # SQLite takes few parameters in a statement


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_make_one_incident():
    catalogue.service("chat-api")
    both_began = threading.Barrier(2, timeout=20)
    failures: list[BaseException] = []

    def write(partition: int) -> None:
        try:
            both_began.wait()
            for number in range(10):
                begin = number * 10 + partition
                metric = ("latency_ms", "cost_usd")[partition]
                record([episode(number + 1, begin, begin + 5, partition=partition, metric=metric)], partition)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            connections.close_all()

    writers = [threading.Thread(target=write, args=[partition]) for partition in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failures == []
    assert (only().anomaly_count, only().first_seen) == (20, NOON)


@pytest.mark.django_db(transaction=True)
def test_a_writer_waits_for_the_one_who_links_the_same_service():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer")
    service = catalogue.service("chat-api")
    done = threading.Event()

    def write() -> None:
        record([episode(2, 5, metric="cost_usd", partition=1)], 1)
        done.set()
        connections.close_all()

    writer = threading.Thread(target=write)
    with transaction.atomic():
        incidents.lock([service.pk])
        writer.start()
        eventually(lambda: waiting_for_locks() == 1, deadline=20)
        assert not done.is_set()
        record([episode(1, 0)])
    writer.join(20)
    assert done.is_set()
    assert only().anomaly_count == 2


def waiting_for_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return int(cursor.fetchone()[0])


def test_dimensions_are_written_and_kept_when_an_episode_that_knows_less_is_written_later():
    found = Excess("region", "eu-west-1", 0.6, 0.3)
    record([episode(1, 0, 10, dimensions=(found,))])
    shown = [{"dimension": "region", "value": "eu-west-1", "share": 0.6, "usual_share": 0.3}]
    assert Anomaly.objects.get().dimensions == shown
    record([episode(1, 0, 20)])
    assert Anomaly.objects.get().dimensions == shown
    other = Excess("user", "u-1", 0.9, 0.1)
    record([episode(1, 0, 30, dimensions=(other,))])
    assert [one["value"] for one in Anomaly.objects.get().dimensions] == ["u-1"]
