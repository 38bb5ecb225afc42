"""Thresholds over recorded minutes: the anomalies, incidents and alerts that come of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from auditlog.models import LogEntry
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, connections
from django.urls import reverse
from django.utils import timezone

from alerting import tasks
from alerting.limits import watch_thresholds
from alerting.models import Alert, Threshold
from anomalies.circumstances import told
from anomalies.models import Anomaly, Incident, State
from baselines.models import ServedModel, TelemetryMinute
from baselines.stats.sketch import LOG_GAMMA, LOW, SKETCHED, bucket, empty, encode
from tests.alerting.factories import alerting_settings
from tests.support import catalogue

pytestmark = pytest.mark.django_db

NOON = catalogue.NOON
SECONDS = timedelta(seconds=1)
MINUTES = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _ageless(settings: Any) -> None:
    """The events of these tests are not too old to be told."""
    settings.SENTINEL = alerting_settings(max_event_age=1e9)


def a_threshold(**changes: Any) -> Threshold:
    """More than ten calls a minute, unless said otherwise."""
    values = {"name": "limit", "metric": "request_rate", "aggregation": "mean", "window": 1, "value": 10.0}
    row = Threshold(**(values | changes))
    row.full_clean()
    row.save()
    return row


def counted(*counts: int | None, of: str = "chat-api", **values: Any) -> None:
    """Minutes from noon on with so many calls; None = none at all."""
    catalogue.service(of)
    for at, count in enumerate(counts):
        if count is not None:
            catalogue.minute(of, NOON + at * MINUTES, count=count, errors=0, **values)


def look(minutes: float) -> int:
    """As the beat does so many minutes after noon, when they are settled."""
    return watch_thresholds(NOON + timedelta(minutes=minutes + 1))


def events() -> list[str]:
    return list(Alert.objects.order_by("created_at", "type").values_list("type", flat=True))


def latencies(*values: float) -> bytes:
    counts, row = empty(), SKETCHED.index("latency_ms")
    for value in values:
        counts[row, bucket(value, LOW[row], LOG_GAMMA[row])] += np.uint32(1)
    return encode(counts)


def test_a_breach_is_an_anomaly_with_its_incident_and_its_alert() -> None:
    a_threshold(severity="critical")
    counted(30)
    assert look(1) == 1
    anomaly = Anomaly.objects.get()
    assert (anomaly.detector, anomaly.type, anomaly.severity) == ("threshold", "traffic_surge", "critical")
    assert (anomaly.value, anomaly.upper, anomaly.score, anomaly.direction) == (30.0, 10.0, 3.0, "up")
    assert (anomaly.first_seen, anomaly.state) == (NOON + MINUTES, State.ACTIVE)
    assert Incident.objects.get() == anomaly.incident
    alert = Alert.objects.get()
    assert (alert.anomaly, alert.type, alert.severity, alert.outcome) == (
        anomaly,
        Alert.Type.OPENED,
        "critical",
        Alert.Outcome.PENDING,
    )


def test_a_breach_that_lasts_is_one_anomaly_that_is_extended_and_ends() -> None:
    a_threshold()
    counted(30, 50, 20, 5, 5)
    for minutes in (1, 1.5, 2, 2.3, 2.6, 3):
        look(minutes)
    anomaly = Anomaly.objects.get()
    assert (anomaly.occurrences, anomaly.value, anomaly.last_seen) == (3, 50.0, NOON + 3 * MINUTES)
    look(4)
    look(5)
    anomaly = Anomaly.objects.get()
    assert (anomaly.state, anomaly.incident.state) == (State.ENDED, State.ENDED)
    assert events() == [Alert.Type.OPENED, Alert.Type.RESOLVED]


def test_looking_again_changes_nothing() -> None:
    a_threshold()
    counted(30)
    look(1)
    before = list(Anomaly.objects.values())
    assert [look(1), look(1.5)] == [0, 0]
    assert list(Anomaly.objects.values()) == before


def test_what_comes_late_neither_flaps_nor_begins_it_anew() -> None:
    a_threshold(operator="<", name="busy")
    counted(5)
    look(1)
    catalogue.minute("chat-api", NOON, count=20, errors=0, first_offset=10)
    for minutes in (1.3, 1.6):
        look(minutes)
    assert events() == [Alert.Type.OPENED, Alert.Type.RESOLVED]
    assert Anomaly.objects.get().state == State.ENDED
    TelemetryMinute.objects.filter(first_offset=10).delete()
    look(1.7)
    assert Anomaly.objects.get().state == State.ENDED


def test_rows_of_several_partitions_are_added_up() -> None:
    a_threshold()
    counted(6)
    catalogue.minute("chat-api", NOON, count=6, errors=0, partition=1)
    look(1)
    assert Anomaly.objects.get().value == 12


def test_a_percentile_is_that_of_the_merged_sketches() -> None:
    a_threshold(metric="latency_ms", aggregation="p90", window=2, value=1000)
    counted(95, sketches=latencies(*[100.0] * 95))
    catalogue.minute("chat-api", NOON + MINUTES, count=12, errors=0, sketches=latencies(*[5000.0] * 12))
    look(2)
    assert Anomaly.objects.get().value == pytest.approx(5000, rel=0.026)
    assert Anomaly.objects.get().type == "latency_spike"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Request rate of chat-api (gpt-4) rose to 30, the threshold “limit” allows at most 10 (mean over 1 min)."),
        ({"operator": "<", "value": 40.0}, "Request rate of chat-api (gpt-4) fell to 30, the threshold “limit” allows"),
        ({"metric": "cost_per_minute", "value": 0.1}, "Cost per minute of chat-api (gpt-4) rose to $0.5, the thresh"),
        ({"metric": "tokens_per_minute"}, "Tokens per minute of chat-api (gpt-4) rose to 150, the threshold “limit”"),
    ],
)
def test_people_are_told_of_the_limit(changes: dict[str, Any], words: str) -> None:
    a_threshold(**changes)
    counted(30)
    look(1)
    assert told(Anomaly.objects.select_related("service").get()).startswith(words)


def test_an_anomaly_keeps_what_its_limit_said() -> None:
    threshold = a_threshold()
    counted(30, 40, 5)
    look(1)
    Threshold.objects.update(value=20)
    look(2)
    said = {"threshold": threshold.name, "aggregation": "mean", "window": 1, "operator": ">", "value": 20.0}
    said |= {"breaches": 1, "out_of": 1}
    assert Anomaly.objects.get().details == said
    look(3)
    assert Anomaly.objects.get(state=State.ENDED).details == said


def test_every_pair_is_judged_by_itself() -> None:
    a_threshold(service="chat-*")
    counted(30)
    counted(8, of="chat-eu")
    counted(30, of="search")
    look(1)
    assert [anomaly.service.name for anomaly in Anomaly.objects.all()] == ["chat-api"]


def test_one_of_a_project_concerns_its_services_only() -> None:
    catalogue.service("other", of="elsewhere")
    a_threshold(project=catalogue.project("elsewhere"))
    counted(30)
    counted(40, of="other")
    look(1)
    assert [anomaly.service.name for anomaly in Anomaly.objects.all()] == ["other"]


@pytest.mark.parametrize(("policy", "count"), [("keep", 0), ("ok", 0), ("breach", 1)])
def test_silence_is_what_the_policy_says(policy: str, count: int) -> None:
    a_threshold(operator="<", no_data=policy)
    counted(30)
    for minutes in (1, 8):
        look(minutes)
    assert Anomaly.objects.filter(value=0, type="throughput_degradation").count() == count


def test_minutes_that_are_not_written_yet_are_no_silence() -> None:
    a_threshold(operator="<", no_data="breach")
    counted(30, 30)
    look(4)
    assert not Anomaly.objects.exists(), "the pipeline is behind"


@pytest.mark.parametrize("gone", ["deleted", "disabled", "retired", "about something else"])
def test_what_is_watched_no_longer_ends(gone: str) -> None:
    threshold = a_threshold()
    counted(30, 30)
    look(1)
    if gone == "deleted":
        threshold.delete()
    elif gone == "retired":
        ServedModel.objects.update(retired_at=NOON)
    else:
        changes = {"enabled": False} if gone == "disabled" else {"metric": "error_rate", "value": 0.5}
        Threshold.objects.update(**changes)
    look(2)
    assert Anomaly.objects.get().state == State.ENDED
    assert events() == [Alert.Type.OPENED, Alert.Type.RESOLVED]


def test_one_that_fails_does_not_stop_the_others() -> None:
    a_threshold(name="a")
    Threshold.objects.update(operator="=")
    a_threshold(name="b")
    counted(30)
    assert look(1) == 1


@pytest.mark.django_db(transaction=True)
def test_several_that_look_at_the_same_time_find_one_breach() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer")
    threshold = a_threshold()
    counted(30, 30, 5)
    together = threading.Barrier(4, timeout=20)

    def look_on() -> None:
        try:
            for minutes in (1, 2, 2, 3):
                together.wait()
                look(minutes)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as watchers:
        for watcher in [watchers.submit(look_on) for _ in range(4)]:
            watcher.result(60)
    anomaly = Anomaly.objects.get()
    assert (anomaly.occurrences, anomaly.state, anomaly.partition) == (2, State.ENDED, threshold.pk)
    assert events() == [Alert.Type.OPENED, Alert.Type.RESOLVED]


def test_the_beat_looks_three_times_a_minute() -> None:
    a_threshold()
    now = timezone.now()
    catalogue.service()
    catalogue.minute("chat-api", _minute_before(now), count=30)
    entry = settings.CELERY_BEAT_SCHEDULE["alerting.watch_thresholds"]
    assert (entry["task"], entry["schedule"]) == (tasks.watch_thresholds.name, 20.0)
    assert tasks.watch_thresholds() == 1


def _minute_before(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0) - 3 * MINUTES


def test_what_cannot_work_is_refused_by_field() -> None:
    with pytest.raises(ValidationError) as refused:
        a_threshold(aggregation="p95", breaches=3, service="x" * 129)
    assert set(refused.value.message_dict) == {"aggregation", "breaches", "service"}


class TestApi:
    PATH = "/api/v1/thresholds"
    BODY = {"name": "slow", "metric": "latency_ms", "aggregation": "p95", "value": 2000}

    @pytest.fixture
    def send(self, client: Any) -> Any:
        return self.sender(client)

    def sender(self, client: Any, of: str | None = None) -> Any:
        headers = catalogue.bearer(catalogue.token("read", "write", of=of)[1])

        def send(method: str, path: str, body: Any = None) -> Any:
            return getattr(client, method)(path, body, content_type="application/json", headers=headers)

        return send

    def test_one_is_written_read_changed_and_deleted(self, send: Any) -> None:
        made = send("post", self.PATH, self.BODY)
        assert made.status_code == 201, made.content
        row = made.json()
        assert (row["window"], row["operator"], row["no_data"], row["severity"]) == (5, ">", "keep", "warning")
        path = f"{self.PATH}/{row['id']}"
        changed = send("patch", path, {"value": 3000, "out_of": 3}).json()
        assert (changed["value"], changed["out_of"], changed["name"]) == (3000, 3, "slow")
        assert send("get", path).json() == changed
        assert send("get", self.PATH).json()["thresholds"] == [changed]
        assert send("delete", path).status_code == 204
        assert send("get", path).status_code == 404
        trail = LogEntry.objects.filter(content_type__model="threshold").order_by("id")
        assert [entry.get_action_display() for entry in trail] == ["create", "update", "delete"]

    @pytest.mark.parametrize(
        ("changes", "field", "words"),
        [
            ({"metric": "mood"}, "metric", "latency_ms"),
            ({"aggregation": "mean"}, "aggregation", "p50"),
            ({"operator": "="}, "operator", ">="),
            ({"value": -1}, "value", "0"),
            ({"value": "NaN"}, "value", "number"),
            ({"window": 61}, "window", "60"),
            ({"breaches": 2}, "breaches", "out_of"),
            ({"no_data": "breach"}, "no_data", "request_rate"),
            ({"unit": "s"}, "unit", "Allowed"),
        ],
    )
    def test_what_cannot_be_used_is_a_400_by_field(
        self, send: Any, changes: dict[str, Any], field: str, words: str
    ) -> None:
        answer = send("post", self.PATH, self.BODY | changes)
        assert answer.status_code == 400
        assert words in answer.json()["errors"][field][0]

    def test_a_name_is_given_once(self, send: Any) -> None:
        assert [send("post", self.PATH, self.BODY).status_code for _ in range(2)] == [201, 400]

    def test_projects_see_their_own_and_change_none_of_all(self, client: Any) -> None:
        common, other = a_threshold(name="common"), a_threshold(name="other", project=catalogue.project("other"))
        mine = a_threshold(name="mine", project=catalogue.project())
        send = self.sender(client, of="default")
        assert [row["id"] for row in send("get", self.PATH).json()["thresholds"]] == [common.pk, mine.pk]
        codes = [send("patch", f"{self.PATH}/{row.pk}", {"value": 1}).status_code for row in (common, other, mine)]
        assert codes == [403, 404, 200]
        assert send("delete", f"{self.PATH}/{common.pk}").status_code == 403
        assert send("post", self.PATH, self.BODY).status_code == 400, "it must name its project"

    def test_its_anomalies_are_found_by_detector(self, send: Any) -> None:
        a_threshold()
        counted(30)
        look(1)
        start = NOON.strftime("%Y-%m-%dT%H:%M:%SZ")
        found = send("get", "/api/v1/anomalies", {"detector": "threshold", "start": start}).json()["anomalies"]
        assert [row["value"] for row in found] == [30.0]


def test_the_admin_makes_one_and_says_what_it_asks(client: Any) -> None:
    client.force_login(User.objects.create_superuser("root"))
    form = {"name": "slow", "enabled": "on", "service": "chat-*", "model": "*", "severity": "warning"}
    form |= {"metric": "latency_ms", "aggregation": "p95", "window": "5", "operator": ">", "value": "2000"}
    form |= {"no_data": "keep", "breaches": "1", "out_of": "1"}
    add = reverse("admin:alerting_threshold_add")
    refused = client.post(add, form | {"aggregation": "mean"})
    assert "must be one of p50" in refused.content.decode()
    assert client.post(add, form).status_code == 302
    listed = client.get(reverse("admin:alerting_threshold_changelist")).content.decode()
    assert "p95 of latency_ms over 5 min &gt; 2000" in listed
