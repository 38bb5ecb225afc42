"""The overview and the page of an incident, as people of each role get them."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerting.models import AlertGroup, Budget, Channel, Delivery, Notification
from anomalies import lifecycle
from anomalies.detection.types import TYPES
from anomalies.models import Anomaly, Incident, Status
from baselines.models import Annotation
from baselines.stats.series import Pair
from sentinel_site.dashboard import costs, stream, views
from sentinel_site.dashboard.entrance import sight_of
from sentinel_site.dashboard.next_steps import OTHERWISE, STEPS
from sentinel_site.dashboard.overview import overview
from sentinel_site.dashboard.selection import selected
from tests.sentinel_site.dashboard.conftest import minutes, served, signed_in
from tests.support import catalogue

pytestmark = pytest.mark.django_db
HOSTILE = '<script>alert("x")</script>&\'"{{ 7 }}'


def now_anomaly(**values: object) -> Anomaly:
    return catalogue.anomaly(served(), at=timezone.now() - timedelta(minutes=3), **values)


def page_of(anomaly: Anomaly) -> str:
    return f"/incidents/{anomaly.incident_id}"


def test_strangers_are_led_to_the_login_and_back(client):
    answer = client.get("/?range=24h")
    assert answer.status_code == 302
    assert answer.url == "/admin/login/?next=/%3Frange%3D24h"
    assert client.get("/dashboard/data").status_code == 401


def test_an_account_without_a_group_is_told_so():
    answer = signed_in(catalogue.person("nobody")).get("/")
    assert answer.status_code == 403
    assert "may not see this yet" in answer.content.decode()


def test_a_fresh_installation_says_how_to_send_the_first_event(viewer):
    text = signed_in(viewer).get("/").content.decode()
    assert "Waiting for the first event" in text
    assert "curl http://testserver/api/v1/events" in text


def test_an_installation_that_fell_silent_long_ago_is_not_taken_for_a_fresh_one(viewer):
    catalogue.service()  # last heard of in March
    text = signed_in(viewer).get("/").content.decode()
    assert "Send the first event" not in text
    assert "Nothing is going on right now" in text


def test_the_overview_shows_what_is_open_and_what_was_called(viewer):
    anomaly = now_anomaly(state="active")
    minutes(count=5)
    text = html.unescape(signed_in(viewer).get("/").content.decode())
    assert "1 critical incident is going on" in text
    assert f'href="{page_of(anomaly)}"' in text
    assert "Latency rose to 15.2 s, expected 532 ms to 1.94 s" in text
    assert "chat-api" in text
    assert "Send the first event" not in text
    assert "Acknowledge" not in text  # a viewer looks on


def test_the_data_hold_the_same_as_the_page(operator):
    anomaly = now_anomaly()
    minutes(count=5)
    seen = signed_in(operator).get("/dashboard/data").json()
    assert set(seen["parts"]) == {"status", "incidents", "totals", "pairs"}
    assert page_of(anomaly) in seen["parts"]["incidents"]
    charts = {chart["id"]: chart for chart in seen["charts"]}
    assert list(charts) == ["latency", "calls", "errors", "tokens", "cost"]
    calls = [value for value in charts["calls"]["lines"][0]["values"] if value is not None]
    assert calls == [10] * 5
    assert charts["errors"]["lines"][0]["values"].count(0.1) == 5
    (mark,) = charts["latency"]["marks"]
    assert mark["url"] == page_of(anomaly)


def test_what_still_goes_on_comes_before_what_is_worse_but_over(viewer):
    service = served()
    at = timezone.now() - timedelta(hours=1)
    over = catalogue.anomaly(service, at, state="ended", severity="critical")
    lasting = catalogue.anomaly(service, at - timedelta(hours=3), state="active", severity="warning")
    shown = overview(sight_of(viewer), selected({}, timezone.now()), timezone.now())
    assert [line.anomaly for line in shown.listing.open] == [lasting, over]
    lifecycle.acknowledge(Anomaly.objects.filter(pk=over.pk), viewer)
    shown = overview(sight_of(viewer), selected({}, timezone.now()), timezone.now())
    assert [line.anomaly for line in shown.listing.open] == [lasting]
    assert [line.anomaly for line in shown.listing.past] == [over]


def test_filters_choose_services_models_and_incidents(viewer):
    chat, other = served("chat-api", ("gpt-4", "gpt-5")), served("search")
    for name in ("chat-api", "search"):
        minutes(name)
    at = timezone.now() - timedelta(minutes=3)
    catalogue.anomaly(chat, at)
    found = catalogue.anomaly(other, at, severity="info")

    def shown(**asked: str):
        return overview(sight_of(viewer), selected(asked, timezone.now()), timezone.now())

    assert [row.pair for row in shown(service="chat-api", model="gpt-4").rows] == [Pair("chat-api", "gpt-4")]
    by_words = shown(q="severity:info sea")
    assert [line.anomaly for line in by_words.listing.open] == [found]
    assert [row.pair for row in by_words.rows] == [Pair("search", "gpt-4")]
    assert shown(model="gpt-5").listing.open == []
    problem = signed_in(viewer).get("/", {"q": "severity>="}).content.decode()
    assert "At character" in problem


def test_the_cost_of_today_its_forecast_and_budgets_are_told(viewer):
    served()
    minutes(count=3)
    account = {"account": "", "spent": 41.5, "share": 0.83, "forecast": 61.0, "runs_out_at": None}
    Budget.objects.create(name="<b>all</b>", amount=50.0, state={"accounts": [account]})
    hidden = catalogue.project("other")
    Budget.objects.create(name="secret", amount=50.0, state={"accounts": [account]}, project=hidden)
    text = signed_in(viewer).get("/").content.decode()
    assert "&lt;b&gt;all&lt;/b&gt;" in text
    assert "$41.50 of $50.00 a month" in text
    assert "83 % spent" in text
    assert "Cost this month" in text
    assert "secret" not in text


def test_nobody_sees_anything_of_other_projects(viewer):
    secret = served("secret-api", of="other")
    minutes("secret-api")
    hidden = catalogue.anomaly(secret, timezone.now(), value=987654.0)
    Annotation.objects.create(service=secret, at=timezone.now(), text="a secret deploy")
    client = signed_in(viewer)
    for path in ("/", "/dashboard/data"):
        assert "secret" not in client.get(path).content.decode()
    for path in (page_of(hidden), f"{page_of(hidden)}/data"):
        assert client.get(path).status_code == 404
    actor = signed_in(catalogue.person("olga", "operator"))
    for act in ("acknowledge", "resolve", "feedback"):
        assert actor.post(f"{page_of(hidden)}/{act}", {"verdict": "noise"}).status_code == 404
    hidden.refresh_from_db()
    assert (hidden.status, hidden.feedback) == (Status.OPEN, None)


def test_hostile_names_are_text_wherever_they_appear(operator):
    service = served(HOSTILE, (HOSTILE,))
    service.labels = {"runbook_url": "javascript:alert(1)"}
    service.save()
    minutes(HOSTILE, model=HOSTILE)
    found = [{"dimension": "user", "value": HOSTILE, "share": 0.9, "usual_share": 0.1}]
    told = {"detectors": {HOSTILE: 2.0}, "dimensions": found, "sample_trace_ids": [HOSTILE], "note": HOSTILE}
    anomaly = catalogue.anomaly(service, timezone.now() - timedelta(minutes=3), model=HOSTILE, **told)
    lifecycle.acknowledge(Anomaly.objects.filter(pk=anomaly.pk), operator, note=HOSTILE)
    Annotation.objects.create(service=service, at=timezone.now() - timedelta(minutes=9), text=HOSTILE)
    client = signed_in(operator)
    for path in ("/", page_of(anomaly)):
        text = client.get(path, {"q": HOSTILE, "service": HOSTILE}).content.decode()
        assert "<script>alert" not in text
        assert html.escape(HOSTILE) in text
        assert "javascript:" not in text
    for path in ("/dashboard/data", f"{page_of(anomaly)}/data"):
        for part in client.get(path).json()["parts"].values():
            assert "<script" not in part


def test_pages_hold_neither_inline_scripts_nor_styles(operator):
    anomaly = now_anomaly()
    client = signed_in(operator)
    for path in ("/", page_of(anomaly)):
        answer = client.get(path)
        text = answer.content.decode()
        assert " style=" not in text
        assert " on" + "click=" not in text
        scripts = [each.split(">")[0] for each in text.split("<script")[1:]]
        assert all("src=" in each or 'type="application/json"' in each for each in scripts), scripts
        assert "'unsafe" not in answer["Content-Security-Policy"]


def test_the_page_of_an_incident_tells_what_why_and_what_next(operator, settings):
    dashboard = settings.SENTINEL.dashboard.model_copy(update={"trace_url_template": "https://t.example/{trace_id}"})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"dashboard": dashboard})
    service = served()
    service.labels = {"runbook_url": "https://runbooks.example/chat"}
    service.save()
    dimension = {"dimension": "region", "value": "eu-west-1", "share": 0.6, "usual_share": 0.3}
    at = timezone.now() - timedelta(minutes=10)
    earlier = catalogue.anomaly(service, at - timedelta(days=1), state="ended", note="provider was slow")
    anomaly = catalogue.anomaly(service, at, dimensions=[dimension], sample_trace_ids=["a b"])
    catalogue.anomaly(service, at, metric="error_rate", severity="info", incident=anomaly.incident)
    Annotation.objects.create(service=service, at=at - timedelta(minutes=4), text="deploy v12")
    text = html.unescape(signed_in(operator).get(page_of(anomaly)).content.decode())
    for told in (
        "Latency rose to 15.2 s, expected 532 ms to 1.94 s.",
        "It began 4 min after deploy v12.",
        "zscore",
        "eu-west-1",
        "usually 30 %",
        "https://t.example/a%20b",
        "https://runbooks.example/chat",
        STEPS["latency_spike"].steps[0],
        "provider was slow",
        page_of(earlier),
        "and 1 more",
    ):
        assert told in text, told


def test_deliveries_acts_and_votes_stand_in_the_order_in_which_they_happened(operator):
    anomaly = now_anomaly()
    group = AlertGroup.objects.create(project=anomaly.service.project, key="k")
    notification = Notification.objects.create(
        pk=anomaly.pk, group=group, sequence=1, type="anomaly.opened", severity="critical", occurred_at=timezone.now()
    )
    notification.anomalies.add(anomaly)
    channel = Channel.objects.create(name="on-call", kind="webhook")
    Delivery.objects.create(notification=notification, channel=channel, status="delivered", delivered_at=timezone.now())
    client = signed_in(operator)
    client.post(f"{page_of(anomaly)}/acknowledge", {"note": "on it"})
    client.post(f"{page_of(anomaly)}/feedback", {"verdict": "useful"})
    text = client.get(page_of(anomaly)).content.decode()
    order = ["began", "was told that it had begun", "acknowledged", "on it", "called it useful"]
    places = [text.index(words, text.index('id="life-title"')) for words in order]
    assert places == sorted(places)


def test_a_form_acknowledges_resolves_and_votes_without_scripts(operator):
    anomaly = now_anomaly()
    client = signed_in(operator)
    answer = client.post(f"{page_of(anomaly)}/acknowledge", {"note": "mine"}, follow=True)
    assert answer.redirect_chain == [(page_of(anomaly), 302)]
    assert "acknowledged by olga" in answer.content.decode()
    client.post(f"{page_of(anomaly)}/feedback", {"verdict": "noise"})
    assert client.post(f"{page_of(anomaly)}/feedback", {"verdict": "rubbish"}).status_code == 400
    client.post(f"{page_of(anomaly)}/resolve")
    anomaly.refresh_from_db()
    assert (anomaly.status, anomaly.note, anomaly.feedback["noise"]) == (Status.RESOLVED, "mine", 1)


@pytest.mark.parametrize(
    ("target", "reached"), [("/?range=24h", "/?range=24h"), ("https://evil.example/", None), ("//evil.example", None)]
)
def test_who_acted_comes_back_to_this_site_only(operator, target, reached):
    anomaly = now_anomaly()
    answer = signed_in(operator).post(f"{page_of(anomaly)}/acknowledge", {"next": target})
    assert answer.url == (reached or page_of(anomaly))


def test_a_viewer_can_do_nothing(viewer):
    anomaly = now_anomaly()
    client = signed_in(viewer)
    for act in ("acknowledge", "resolve", "feedback"):
        assert client.post(f"{page_of(anomaly)}/{act}", {"verdict": "noise"}).status_code == 403
    anomaly.refresh_from_db()
    assert (anomaly.status, anomaly.feedback) == (Status.OPEN, None)


def test_an_incident_that_became_part_of_an_older_one_leads_there(viewer):
    older, younger = now_anomaly(), now_anomaly()
    Incident.objects.filter(pk=younger.incident_id).update(merged_into=older.incident_id)
    Anomaly.objects.filter(pk=younger.pk).update(incident=older.incident_id)
    answer = signed_in(viewer).get(page_of(younger))
    assert answer.url == page_of(older)


def test_every_type_has_a_next_step_of_its_own():
    assert set(STEPS) == set(TYPES)
    assert all(step.cause and step.steps for step in (*STEPS.values(), OTHERWISE))


def forget() -> None:
    views.recent.clear()
    stream.recent.clear()
    costs.outlooks.clear()


def queries_of(client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert client.get(path).status_code == 200
    return len(seen)


def test_the_number_of_queries_does_not_grow_with_what_is_shown(operator):
    anomaly = now_anomaly()
    minutes()
    client = signed_in(operator)
    paths = ("/", "/dashboard/data", page_of(anomaly), f"{page_of(anomaly)}/data")
    first = {}
    for path in paths:
        forget()
        first[path] = queries_of(client, path)
    for number in range(12):
        service = served(f"service-{number}", ("gpt-4", "gpt-5"))
        minutes(service.name)
        catalogue.baseline(service.name)
        catalogue.anomaly(service, timezone.now() - timedelta(minutes=number))
        catalogue.anomaly(anomaly.service, anomaly.first_seen, incident=anomaly.incident, metric="cost_usd")
    for path in paths:
        forget()
        assert queries_of(client, path) == first[path], path
    assert max(first.values()) <= 30, first


def test_who_asks_within_a_second_is_answered_from_memory(operator):
    now_anomaly()
    client = signed_in(operator)
    first = queries_of(client, "/dashboard/data")
    assert queries_of(client, "/dashboard/data") < first / 2


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_every_link_on_the_pages_works_for_everybody_who_sees_it(role):
    anomaly = now_anomaly(dimensions=[{"dimension": "user", "value": "u", "share": 0.9, "usual_share": 0.1}])
    for number in range(8):  # more than are listed, so that there is a link to all of them
        catalogue.anomaly(anomaly.service, timezone.now() - timedelta(hours=1, minutes=number), state="ended")
    minutes()
    client = signed_in(catalogue.person("somebody", role, is_superuser=role == "admin"))
    found: set[str] = set()
    for page in ("/", "/?service=chat-api&model=gpt-4&range=24h", page_of(anomaly)):
        found |= set(re.findall(r'href="([/?][^"]*)"', client.get(page).content.decode()))
    links = {html.unescape(link) for link in found if not link.startswith("/static/")}
    assert {"/", page_of(anomaly), "/?service=chat-api"} <= links
    answers = {link: client.get(link if link.startswith("/") else f"/{link}").status_code for link in links}
    assert {link: code for link, code in answers.items() if code != 200} == {}
