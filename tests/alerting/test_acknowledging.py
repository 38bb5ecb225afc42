"""Links in messages that acknowledge: who holds one, and does mean it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.core import signing
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from alerting import acknowledging, pages
from alerting.models import AlertGroup, Channel, GroupMember
from anomalies.models import Anomaly, Transition
from tests.alerting.factories import a_service, a_webhook, an_anomaly

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh_counts() -> None:
    cache.clear()


@pytest.fixture
def channel() -> Channel:
    return a_webhook("https://x.example/", "oncall", kind=Channel.Kind.EMAIL)


def a_group(*anomalies: Anomaly) -> AlertGroup:
    group = AlertGroup.objects.create(project=a_service().project, key="k" * 8, phase=AlertGroup.Phase.FIRING)
    for anomaly in anomalies:
        values = {"severity": anomaly.severity, "occurred_at": timezone.now(), "ready_at": timezone.now()}
        GroupMember.objects.create(group=group, anomaly=anomaly, **values)
    return group


def path(channel: Channel, group: AlertGroup, now: datetime | None = None) -> str:
    return urlsplit(acknowledging.link(channel, group.pk, now or timezone.now())).path


def statuses() -> set[str]:
    return set(Anomaly.objects.values_list("status", flat=True))


def test_a_link_asks_and_its_page_acknowledges(channel: Channel) -> None:
    anomaly = an_anomaly()
    client = Client(enforce_csrf_checks=True)
    address = path(channel, a_group(anomaly))
    shown = client.get(address)
    assert "Latency spike in chat-api (gpt-4)" in shown.content.decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', shown.content.decode())
    assert found is not None
    form = {"csrfmiddlewaretoken": found[1], "anomaly": str(anomaly.pk), "name": "Kim", "note": "on it"}
    assert b"Nobody is called again" in client.post(address, form).content
    anomaly.refresh_from_db()
    assert (anomaly.status, anomaly.acknowledged_by_name, anomaly.note) == (
        "acknowledged",
        "channel oncall",
        "Kim: on it",
    )
    transition = Transition.objects.get()
    assert (transition.kind, transition.actor_name) == ("acknowledged", "channel oncall")


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_scanner_that_fetches_the_link_acknowledges_nothing(client: Client, channel: Channel, method: str) -> None:
    address = path(channel, a_group(an_anomaly()))
    assert getattr(client, method)(address).status_code == 200
    assert statuses() == {"open"}


def test_a_scanner_that_posts_without_the_pages_token_acknowledges_nothing(channel: Channel) -> None:
    anomaly = an_anomaly()
    response = Client(enforce_csrf_checks=True).post(path(channel, a_group(anomaly)), {"anomaly": str(anomaly.pk)})
    assert response.status_code == 403
    assert statuses() == {"open"}


def test_a_post_that_names_no_anomaly_acknowledges_nothing(client: Client, channel: Channel) -> None:
    assert b"Nothing changed" in client.post(path(channel, a_group(an_anomaly()))).content
    assert statuses() == {"open"}


def test_a_link_reaches_its_own_group_only(client: Client, channel: Channel) -> None:
    mine, other = an_anomaly(), an_anomaly(a_service("other"))
    address = path(channel, a_group(mine))
    assert b"Nothing changed" in client.post(address, {"anomaly": [str(other.pk), "no id"]}).content
    assert statuses() == {"open"}
    assert b"other" not in client.get(address).content


def test_what_came_to_the_group_after_the_page_was_shown_stays_open(client: Client, channel: Channel) -> None:
    first, second = an_anomaly(), an_anomaly(model="later")
    client.post(path(channel, a_group(first, second)), {"anomaly": str(first.pk)})
    assert list(Anomaly.objects.filter(status="open")) == [second]


def test_a_link_expires(client: Client, channel: Channel) -> None:
    group = a_group(an_anomaly())
    now = timezone.now()
    assert client.get(path(channel, group, now - timedelta(hours=23))).status_code == 200
    old = path(channel, group, now - acknowledging.VALID_FOR - timedelta(seconds=2))
    response = client.post(old, {"anomaly": str(Anomaly.objects.get().pk)})
    assert response.status_code == 410
    assert statuses() == {"open"}


def test_a_link_of_a_disabled_channel_opens_nothing(client: Client, channel: Channel) -> None:
    address = path(channel, a_group(an_anomaly()))
    Channel.objects.update(enabled=False)
    assert client.get(address).status_code == 404


def forged() -> list[str]:
    content = {"g": "0" * 32, "c": 1, "e": 9e9}
    return ["x", "a:b:c", signing.dumps(content, salt="other"), signing.dumps(["list"], salt=acknowledging.SALT)]


@pytest.mark.parametrize("number", range(4))
def test_a_token_that_was_not_signed_here_for_this_opens_nothing(client: Client, number: int) -> None:
    assert client.get(f"/alerts/acknowledge/{forged()[number]}").status_code == 404


def test_a_changed_token_opens_nothing(client: Client, channel: Channel) -> None:
    address = path(channel, a_group(an_anomaly()))
    changed = address[:-1] + ("A" if address[-1] != "A" else "B")
    assert client.get(changed).status_code == 404


def test_a_link_signed_with_another_key_opens_nothing(client: Client, channel: Channel, settings: Settings) -> None:
    address = path(channel, a_group(an_anomaly()))
    settings.SECRET_KEY = "another key that is long enough to be taken for one"
    assert client.get(address).status_code == 404


def test_guessing_is_slowed_down_and_costs_others_nothing(client: Client, channel: Channel) -> None:
    answers = [client.get(f"/alerts/acknowledge/guess{n}").status_code for n in range(pages.PER_MINUTE + 5)]
    assert answers == [404] * pages.PER_MINUTE + [429] * 5
    assert client.get(path(channel, a_group(an_anomaly()))).status_code == 200


def test_one_link_is_asked_for_so_often_and_no_more(client: Client, channel: Channel) -> None:
    address = path(channel, a_group(an_anomaly()))
    answers = {client.get(address).status_code for _ in range(pages.PER_MINUTE)}
    assert answers == {200}
    assert client.get(address).status_code == 429


def test_the_page_is_neither_kept_nor_indexed_and_lets_no_script_run(client: Client, channel: Channel) -> None:
    hostile = an_anomaly(a_service("<script>alert(1)</script>"))
    response = client.get(path(channel, a_group(hostile)))
    assert b"<script>" not in response.content
    assert "no-store" in response["Cache-Control"]
    assert response["X-Robots-Tag"] == "noindex, nofollow"
    assert "nonce-" in response["Content-Security-Policy"]


def test_who_comes_second_hears_who_was_first(client: Client, channel: Channel) -> None:
    anomaly = an_anomaly()
    address = path(channel, a_group(anomaly))
    client.post(address, {"anomaly": str(anomaly.pk)})
    assert b"Acknowledged by channel oncall." in client.get(address).content


def test_only_what_people_read_offers_a_link(channel: Channel) -> None:
    group = a_group()
    offered = {
        kind for kind in Channel.Kind.values if acknowledging.link(Channel(pk=1, kind=kind), group.pk, timezone.now())
    }
    assert offered == {"slack", "email", "teams"}
    assert acknowledging.link(channel, group.pk, timezone.now()).startswith("http")
