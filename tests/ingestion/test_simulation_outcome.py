"""How a simulated incident is found among the anomalies."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from anomalies.models import Anomaly
from ingestion.pacing import SECOND_NS
from ingestion.simulation.fleet import fleet
from ingestion.simulation.outcome import Search, is_watched
from ingestion.simulation.scenarios import SCENARIOS, Incident
from ingestion.simulation.traffic import nanoseconds
from tests.support import catalogue
from tests.support.catalogue import NOON, service

pytestmark = pytest.mark.django_db

START_NS = nanoseconds(NOON)
MODEL = fleet(1)[0].model
AFTER = timedelta(seconds=20)


@pytest.fixture
def search() -> Search:
    return Search(Incident(SCENARIOS["latency_shift"], fleet(1)[0], START_NS))


def anomaly(*args: Any, **values: Any) -> Anomaly:
    return catalogue.anomaly(*args, **{"model": MODEL} | values)


def look(search: Search, seconds: float) -> list[object]:
    return [found.pk for found in search.look(START_NS + round(seconds * SECOND_NS))]


def test_an_anomaly_of_the_right_type_and_service_after_the_start_is_found(search):
    found = anomaly(service("chat-api"), NOON + AFTER, type="latency_spike")
    assert look(search, 30) == [found.pk]


@pytest.mark.parametrize(
    ("name", "model", "kind", "at"),
    [
        ("other", MODEL, "latency_spike", NOON + AFTER),
        ("chat-api", "other", "latency_spike", NOON + AFTER),
        ("chat-api", MODEL, "cost_anomaly", NOON + AFTER),
        ("chat-api", MODEL, "latency_spike", NOON - timedelta(minutes=10)),
    ],
)
def test_anomalies_of_other_services_models_types_and_times_are_not_it(search, name, model, kind, at):
    anomaly(service(name), at, type=kind, model=model)
    assert look(search, 30) == []


def test_what_was_there_before_the_start_is_not_it_even_if_it_is_fresh(search):
    old = anomaly(service("chat-api"), NOON - timedelta(seconds=30), type="latency_spike")
    assert look(search, -5) == []
    new = anomaly(service("chat-api"), NOON - timedelta(seconds=30), type="latency_spike")
    assert look(search, 5) == [new.pk]
    assert old.pk != new.pk


def test_the_database_is_asked_once_a_second_at_most(search, django_assert_num_queries):
    with django_assert_num_queries(2):
        for tenth in range(20):
            look(search, tenth / 10)


def test_a_user_out_of_hand_is_an_anomaly_of_the_service_whatever_the_model():
    search = Search(Incident(SCENARIOS["user_abuse"], fleet(1)[0], START_NS))
    found = anomaly(service("chat-api"), NOON + AFTER, type="usage_pattern", model="any")
    assert look(search, 30) == [found.pk]


def test_an_older_anomaly_counts_only_once_it_grows_worse(search):
    old = anomaly(service("chat-api"), NOON - timedelta(hours=1), timedelta(hours=2), type="latency_spike", score=4.0)
    assert look(search, -5) == []
    assert look(search, 5) == []
    old.score = 9.0
    old.save()
    assert look(search, 10) == [old.pk]
    assert not search.is_new(old)


def test_an_older_anomaly_first_seen_by_the_search_after_the_start_is_no_news_by_itself(search):
    old = anomaly(service("chat-api"), NOON - timedelta(hours=1), timedelta(hours=2), type="latency_spike", score=4.0)
    assert look(search, 5) == []
    old.score = 4.1
    old.save()
    assert look(search, 10) == [old.pk]


@pytest.mark.parametrize(("name", "watched"), [("latency_shift", True), ("cost_double", True), ("silence", False)])
def test_the_classic_detectors_watch_some_scenarios_and_not_others(name, watched):
    incident = Incident(SCENARIOS[name], fleet(1)[0], START_NS)
    assert is_watched(incident, settings.SENTINEL.detection) is watched
