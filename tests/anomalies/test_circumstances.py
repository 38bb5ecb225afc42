"""The story of an anomaly names what people had just changed and what else departed from normal."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.messages import message_of
from alerting.models import Channel
from anomalies.circumstances import told
from baselines.models import Annotation
from tests.alerting.factories import a_telling
from tests.support import catalogue
from tests.support.catalogue import NOON, bearer

pytestmark = pytest.mark.django_db


def noted(before: float, text: str = "deploy v12", **owner) -> None:
    """Something that people did so many minutes before noon."""
    Annotation.objects.create(at=NOON - timedelta(minutes=before), text=text, **owner)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (4, "It began 4 min after deploy v12."),
        (0, "It began 0 s after deploy v12."),
        (0.5, "It began 30 s after deploy v12."),
        (30, "It began 30 min after deploy v12."),
        (30.1, None),
        (-1, None),
    ],
)
def test_what_was_noted_within_half_an_hour_before_is_named(before, said):
    anomaly = catalogue.anomaly()
    noted(before, service=anomaly.service)
    assert ("It began" in told(anomaly)) is (said is not None)
    assert (said or "") in told(anomaly)


def test_what_the_calls_have_in_common_is_told():
    region = {"dimension": "region", "value": "eu-west-1", "share": 0.6, "usual_share": 0.3}
    user = {"dimension": "user", "value": "u-7", "share": 0.514, "usual_share": 0.0}
    said = told(catalogue.anomaly(dimensions=[region, user]))
    assert "60 % of the calls come from region eu-west-1 (usually 30 %); " in said
    assert "51 % of the calls come from user u-7 (never seen before)." in said
    assert "of the calls" not in told(catalogue.anomaly())


def test_drift_is_told_with_what_was_usual_and_without_a_band():
    values = {"metric": "prompt_tokens_distribution", "value": 812.0, "baseline_median": 640.0}
    said = told(catalogue.anomaly(**values, lower=None, upper=None))
    assert said.startswith("The median of prompt tokens of chat-api (gpt-4) rose to 812, expected about 640.")


def test_the_last_of_what_concerns_the_service_is_named():
    anomaly = catalogue.anomaly(catalogue.service("mine", of="blue"))
    noted(1, "another service's deploy", service=catalogue.service("other", of="blue"))
    noted(2, "another project's change", project=catalogue.project("red"))
    assert "It began" not in told(anomaly)
    noted(9, "new prices")
    assert "9 min after new prices" in told(anomaly)
    noted(5, "a new gateway", project=anomaly.service.project)
    assert "5 min after a new gateway" in told(anomaly)


def test_the_others_of_the_incident_are_named_the_strongest_first():
    anomaly = catalogue.anomaly()
    assert "At the same time" not in told(anomaly)
    others = {"incident": anomaly.incident, "severity": "info"}
    catalogue.anomaly(type="token_usage_spike", **others)
    catalogue.anomaly(type="cost_anomaly", **others | {"severity": "critical"})
    said = "At the same time: Cost anomaly in chat-api (gpt-4); Token usage spike in chat-api (gpt-4)."
    assert told(anomaly).endswith(said)
    for _ in range(4):
        catalogue.anomaly(**others)
    assert told(anomaly).endswith("; and more.")


def test_the_story_is_told_in_the_api_in_the_admin_and_in_alerts(client):
    anomaly = catalogue.anomaly()
    noted(4, "deploy <v12>", service=anomaly.service)
    headers = bearer(catalogue.token("read")[1])
    assert client.get(f"/api/v1/anomalies/{anomaly.pk}", headers=headers).json()["story"] == told(anomaly)
    client.force_login(catalogue.person("vera", "viewer"))
    page = client.get(f"/admin/anomalies/anomaly/{anomaly.pk}/change/").content.decode()
    assert "It began 4 min after deploy &lt;v12&gt;." in page
    delivery = a_telling(Channel.objects.create(name="pager", kind="webhook"), anomaly)
    assert b"It began 4 min after deploy" in message_of(delivery).body
