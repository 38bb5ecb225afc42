"""The admin: what each group sees and may do, at a constant number of queries."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from auditlog.models import LogEntry
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from alerting.models import Channel
from anomalies import feedback
from anomalies.models import Anomaly, DetectionOverride
from baselines.admin_tools import COUNTED_ROWS, BoundedPaginator, CalendarQuerySet
from baselines.models import Annotation, Project, Service
from sentinel_site.access.models import ApiToken, token_digest
from tests.support import catalogue
from tests.support.catalogue import NOON

pytestmark = pytest.mark.django_db

ANOMALIES = "/admin/anomalies/anomaly/"
OURS = ("baselines", "anomalies", "alerting", "ingestion", "access", "auth")


def login(name: str, group: str | None = None, **values) -> Client:
    client = Client()
    client.force_login(catalogue.person(name, group, **values))
    return client


@pytest.fixture
def operator() -> Client:
    return login("otto", "operator")


@pytest.fixture
def root() -> Client:
    return login("root", is_superuser=True)


def lists() -> list[str]:
    """The lists of every model of ours in the admin."""
    return [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for model in admin.site._registry
        if model._meta.app_label in OURS
    ]


def some_rows(count: int) -> None:
    for number in range(count):
        service = catalogue.service(f"service-{number}-{Service.objects.count()}")
        anomaly = catalogue.anomaly(service)
        feedback.vote(anomaly.pk, anomaly.pk, "noise", "", timezone.now())
        catalogue.baseline(service.name)
        catalogue.token("read", of="default")
        Annotation.objects.create(service=service, at=NOON, text=f"deploy of {service.name}")
        DetectionOverride.objects.create(service=service.name, project=service.project)


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


def test_every_list_renders_at_a_constant_number_of_queries(root):
    some_rows(2)
    few = {path: queries_of(root, path) for path in lists()}
    some_rows(10)
    assert {path: queries_of(root, path) for path in lists()} == few
    assert max(few.values()) <= 12


def test_every_row_has_a_page_for_those_who_may_see_it(root):
    some_rows(1)
    for model in (Anomaly, Service, Project, ApiToken):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
        assert root.get(reverse(name, args=[model.objects.first().pk])).status_code == 200


@pytest.mark.parametrize(
    ("group", "seen"),
    [
        ("viewer", {"anomaly", "incident", "baselinesnapshot", "service", "project"}),
        ("operator", {"anomaly", "incident", "baselinesnapshot", "service", "project"}),
        ("admin", {"anomaly", "incident", "baselinesnapshot", "service", "project", "apitoken"}),
    ],
)
def test_each_group_sees_the_lists_of_its_role(group, seen):
    client = login(group, group)
    everything = {"anomaly", "incident", "baselinesnapshot", "service", "project", "apitoken", "user", "group"}
    models = {model._meta.model_name: model for model in admin.site._registry}
    answers = {
        name: client.get(reverse(f"admin:{models[name]._meta.app_label}_{name}_changelist")).status_code
        for name in everything
    }
    assert {name for name, code in answers.items() if code == 200} == seen
    assert set(answers.values()) == {200, 403}


def test_without_a_login_the_admin_shows_the_login_page(client):
    assert client.get(ANOMALIES).headers["Location"].startswith("/admin/login/")
    assert client.get("/").headers["Location"] == "/admin/login/?next=/"


def test_people_see_the_rows_of_their_projects_only():
    catalogue.anomaly(catalogue.service("mine", of="blue"))
    hidden = catalogue.anomaly(catalogue.service("theirs", of="red"))
    catalogue.token("read", of="red", name="their token")
    Annotation.objects.create(service=hidden.service, at=NOON, text="deploy of theirs")
    DetectionOverride.objects.create(service="theirs", project=hidden.service.project)
    feedback.vote(hidden.pk, hidden.pk, "noise", "theirs", timezone.now())
    client = login("ada", "admin", projects=("blue",))
    for path in lists():
        answer = client.get(path)
        assert b"theirs" not in answer.content, path
        assert b"their token" not in answer.content, path
    assert b"mine" in client.get(ANOMALIES).content
    assert client.get(f"{ANOMALIES}{hidden.pk}/change/").status_code == 302


def test_the_selected_anomalies_are_acknowledged_with_a_note(operator):
    chosen, other = catalogue.anomaly(), catalogue.anomaly()
    form = {"action": "acknowledge_selected", "_selected_action": [str(chosen.pk)], "note": " on it ", "index": "0"}
    assert operator.post(ANOMALIES, form).status_code == 302
    chosen.refresh_from_db()
    assert (chosen.status, chosen.acknowledged_by_name, chosen.note) == ("acknowledged", "otto", "on it")
    assert Anomaly.objects.get(pk=other.pk).status == "open"


def test_all_filtered_anomalies_are_resolved_across_pages(operator):
    for _ in range(3):
        catalogue.anomaly(severity="info")
    kept = catalogue.anomaly(severity="critical")
    form = {"action": "resolve_selected", "_selected_action": ["any"], "select_across": "1", "index": "0"}
    operator.post(f"{ANOMALIES}?severity__exact=info", form)
    assert Anomaly.objects.filter(status="resolved").count() == 3
    assert Anomaly.objects.get(pk=kept.pk).status == "open"


def test_a_viewer_cannot_act_and_is_offered_nothing():
    anomaly = catalogue.anomaly()
    viewer = login("vera", "viewer")
    viewer.post(ANOMALIES, {"action": "resolve_selected", "_selected_action": [str(anomaly.pk)], "index": "0"})
    assert Anomaly.objects.get().status == "open"
    assert b"resolve_selected" not in viewer.get(f"{ANOMALIES}{anomaly.pk}/change/").content


def test_the_page_of_an_anomaly_tells_what_happened_and_leads_to_similar_ones(operator):
    anomaly = catalogue.anomaly()
    other = catalogue.anomaly(at=NOON - timedelta(days=1))
    page = operator.get(f"{ANOMALIES}{anomaly.pk}/change/").content.decode()
    assert "Latency of chat-api (gpt-4) rose to 15.2 s, expected 532 ms to 1.94 s. Seen 3 times" in page
    assert f"{ANOMALIES}{other.pk}/change/" in page
    assert f"/api/v1/anomalies/{anomaly.pk}" in page
    assert "19.90" in page


def test_from_its_page_an_anomaly_is_acknowledged_and_the_page_says_so(operator):
    anomaly = catalogue.anomaly()
    form = {"action": "acknowledge_selected", "_selected_action": str(anomaly.pk), "index": "0", "note": "mine"}
    answer = operator.post(ANOMALIES, form | {"asked_from": str(anomaly.pk)}, follow=True)
    assert answer.redirect_chain == [(f"{ANOMALIES}{anomaly.pk}/change/", 302)]
    assert "Acknowledged by otto — mine" in answer.content.decode()


def test_a_page_that_nobody_may_open_leaves_a_line_in_the_log_and_no_traceback(root, caplog):
    assert root.get(f"{ANOMALIES}add/").status_code == 403
    (record,) = caplog.records
    assert record.getMessage() == f"Forbidden (Permission denied): {ANOMALIES}add/"
    assert not record.exc_info


def test_nobody_edits_or_deletes_an_anomaly(root):
    anomaly = catalogue.anomaly()
    assert root.post(f"{ANOMALIES}{anomaly.pk}/change/", {"status": "resolved"}).status_code == 403
    assert root.post(f"{ANOMALIES}{anomaly.pk}/delete/", {"post": "yes"}).status_code == 403
    assert root.get(f"{ANOMALIES}add/").status_code == 403


def test_a_hostile_name_is_shown_as_text(operator):
    hostile = "<script>alert(1)</script>"
    anomaly = catalogue.anomaly(catalogue.service(hostile), model=hostile, note=hostile)
    for path in (ANOMALIES, f"{ANOMALIES}{anomaly.pk}/change/"):
        page = operator.get(path).content.decode()
        assert hostile not in page
        assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=search", {"search"}),
        ("q=SEAR", {"search"}),
        ("q=gpt-5", {"search"}),
        ("q=search+gpt-5", {"search"}),
        ("q=chat+gpt-5", set()),
        ("service=chat-api", {"chat-api"}),
        ("model=gpt-5", {"search"}),
        ("metric=latency_ms", {"search", "chat-api"}),
        ("detector=mad", {"search"}),
        ("severity__exact=info", {"search"}),
        ("status__exact=resolved", set()),
        ("first_seen__year=2026&first_seen__month=3", {"search", "chat-api"}),
        ("first_seen__year=2025", set()),
    ],
)
def test_the_list_is_searched_and_filtered(operator, query, found):
    catalogue.anomaly(catalogue.service("chat-api"))
    search = catalogue.service("search", models=("gpt-5",))
    catalogue.anomaly(search, model="gpt-5", detector="mad", severity="info")
    rows = operator.get(f"{ANOMALIES}?{query}").context["cl"].result_list
    assert {row.service.name for row in rows} == found


def test_an_anomaly_is_found_by_its_id_and_by_that_of_its_incident(operator):
    catalogue.anomaly()
    wanted = catalogue.anomaly()
    for identity in (wanted.pk, wanted.incident_id):
        rows = operator.get(f"{ANOMALIES}?q={identity}").context["cl"].result_list
        assert [row.pk for row in rows] == [wanted.pk]


@pytest.mark.parametrize(
    ("kind", "starts"),
    [
        ("year", [(2024, 1, 1), (2026, 1, 1)]),
        ("month", [(2024, 2, 1), (2024, 12, 1), (2026, 1, 1)]),
        ("day", [(2024, 2, 29), (2024, 12, 31), (2026, 1, 1)]),
    ],
)
def test_the_date_hierarchy_agrees_with_djangos_own(kind, starts, django_assert_num_queries):
    for moment in ((2024, 2, 29, 23, 59), (2024, 12, 31, 0, 0), (2026, 1, 1, 0, 0), (2026, 1, 1, 5, 0)):
        catalogue.anomaly(at=datetime(*moment, tzinfo=UTC))
    with django_assert_num_queries(2):
        found = CalendarQuerySet(Anomaly).datetimes("first_seen", kind)
    assert found == [datetime(*start, tzinfo=UTC) for start in starts]
    assert found == list(Anomaly.objects.datetimes("first_seen", kind))


def test_the_paginator_counts_no_further_than_anybody_leafs(monkeypatch):
    for _ in range(4):
        catalogue.anomaly()
    with CaptureQueriesContext(connection) as captured:
        assert BoundedPaginator(Anomaly.objects.all(), 2).count == 4
    assert f"LIMIT {COUNTED_ROWS}" in captured[0]["sql"]
    monkeypatch.setattr("baselines.admin_tools.COUNTED_ROWS", 3)
    assert BoundedPaginator(Anomaly.objects.all(), 2).count == 3


def test_a_token_is_shown_once_and_works(root, client):
    answer = root.post("/admin/access/apitoken/add/", {"name": "ci", "scopes": ["read"], "project": ""})
    assert answer.status_code == 200, answer.content
    row = ApiToken.objects.get(name="ci")
    secret = answer.context["token"].secret
    assert token_digest(secret) == row.digest
    assert secret in answer.content.decode()
    assert row.created_by.username == "root"
    assert client.get("/api/v1/anomalies", headers=catalogue.bearer(secret)).status_code == 200
    for path in ("/admin/access/apitoken/", f"/admin/access/apitoken/{row.pk}/change/"):
        assert secret not in root.get(path).content.decode()


def test_only_a_superuser_makes_a_token_for_all_projects():
    client = login("ada", "admin", projects=("blue",))
    red = catalogue.project("red")
    for project in ("", str(red.pk)):
        client.post("/admin/access/apitoken/add/", {"name": "x", "scopes": ["admin"], "project": project})
    assert not ApiToken.objects.exists()
    client.post(
        "/admin/access/apitoken/add/", {"name": "x", "scopes": ["read"], "project": catalogue.project("blue").pk}
    )
    assert ApiToken.objects.get().project.name == "blue"


def test_an_admin_moves_a_service_only_within_their_projects():
    service = catalogue.service("mine", of="blue")
    client = login("ada", "admin", projects=("blue",))
    form = {"labels": "{}", "models-TOTAL_FORMS": "0", "models-INITIAL_FORMS": "0"}
    path = f"/admin/baselines/service/{service.pk}/change/"
    client.post(path, form | {"project": catalogue.project("red").pk})
    service.refresh_from_db()
    assert service.project.name == "blue"
    assert client.post(path, form | {"project": service.project_id, "labels": '{"team": "a"}'}).status_code == 302
    service.refresh_from_db()
    assert service.labels == {"team": "a"}


def test_changes_are_audited_and_secrets_are_not_written_down(root):
    channel = Channel.objects.create(name="pager", kind="webhook", secret="whsec_c2VjcmV0c2VjcmV0")
    channel.secret = "whsec_bmV3bmV3bmV3bmV3"
    channel.save()
    root.post("/admin/access/apitoken/add/", {"name": "ci", "scopes": ["read"], "project": ""})
    trail = LogEntry.objects
    written = " ".join(f"{entry.changes} {entry.serialized_data}" for entry in trail.all())
    assert "secret" in trail.get_for_object(channel).filter(action=LogEntry.Action.UPDATE).get().changes
    for secret in ("c2VjcmV0", "bmV3bmV3", ApiToken.objects.get().digest):
        assert secret not in written
    assert trail.get_for_object(ApiToken.objects.get()).get().actor.username == "root"


def test_the_policy_for_content_is_strict_except_in_the_admin(root):
    api, page = root.get("/api/v1/docs/"), root.get(ANOMALIES)
    strict, relaxed = (answer.headers["Content-Security-Policy"] for answer in (api, page))
    assert "unsafe" not in strict
    assert "script-src 'self' 'unsafe-eval'" in relaxed
    assert "style-src 'self' 'unsafe-inline'" in relaxed
    assert "frame-ancestors 'none'" in relaxed


def test_every_model_of_ours_that_people_manage_is_in_the_admin():
    registered = {model._meta.label for model in admin.site._registry}
    assert {"anomalies.Anomaly", "baselines.Service", "baselines.Project", "access.ApiToken"} <= registered
    assert {apps.get_model("auth", name)._meta.label for name in ("User", "Group")} <= registered


def test_the_page_of_an_incident_tells_its_anomalies_and_resolves_them(operator):
    first = catalogue.anomaly()
    second = catalogue.anomaly(incident=first.incident, metric="cost_usd", type="cost_anomaly", value=2.5)
    path = f"/admin/anomalies/incident/{first.incident_id}/change/"
    page = operator.get(path).content.decode()
    assert "Latency of chat-api (gpt-4) rose to 15.2 s" in page
    assert f"{ANOMALIES}{second.pk}/change/" in page
    form = {"action": "resolve_selected", "_selected_action": str(first.incident_id), "index": "0"}
    answer = operator.post("/admin/anomalies/incident/", form | {"asked_from": str(first.incident_id)})
    assert answer.headers["Location"] == path
    assert Anomaly.objects.filter(status="resolved").count() == 2


def test_the_page_of_a_merged_incident_leads_to_the_one_it_became_part_of(operator):
    older, younger = catalogue.anomaly().incident, catalogue.anomaly().incident
    type(younger).objects.filter(pk=younger.pk).update(merged_into=older)
    answer = operator.get(f"/admin/anomalies/incident/{younger.pk}/change/")
    assert answer.headers["Location"] == f"/admin/anomalies/incident/{older.pk}/change/"
    listed = operator.get("/admin/anomalies/incident/").context["cl"].result_list
    assert [row.pk for row in listed] == [older.pk]


def test_an_operator_writes_an_override_of_their_project_and_is_told_what_is_wrong(operator):
    path = "/admin/anomalies/detectionoverride/add/"
    prefilled = operator.get(f"{path}?service=chat-api&sensitivity=low&thresholds=%7B%22zscore%22%3A+4.5%7D")
    initial = prefilled.context["adminform"].form.initial
    assert (initial["service"], initial["sensitivity"], initial["thresholds"]) == ("chat-api", "low", {"zscore": 4.5})
    project = catalogue.project().pk
    form = {"service": "chat-api", "model": "*", "metric": "latncy", "muted": "unknown", "enabled": "on"}
    form |= {"detectors": "{}", "thresholds": '{"zscore": 4.5}', "project": project}
    assert b"No metric is called" in operator.post(path, form).content
    assert operator.post(path, form | {"metric": "*_ms", "project": ""}).status_code == 200
    assert operator.post(path, form | {"metric": "*_ms"}).status_code == 302
    made = DetectionOverride.objects.get()
    assert (made.metric, made.thresholds, made.created_by, made.muted) == ("*_ms", {"zscore": 4.5}, "otto", None)
    assert "zscore at 4.5" in operator.get("/admin/anomalies/detectionoverride/").content.decode()


def test_votes_are_cast_on_the_page_of_an_anomaly_and_reported_with_a_proposal(operator):
    anomaly = catalogue.anomaly(at=timezone.now())
    for number in range(4):
        feedback.vote(anomaly.pk, catalogue.person(f"p{number}"), "noise", "", timezone.now())
    form = {"action": "call_noise", "_selected_action": str(anomaly.pk), "index": "0", "note": "<b>again</b>"}
    page = operator.post(ANOMALIES, form | {"asked_from": str(anomaly.pk)}, follow=True).content.decode()
    assert "noise, says otto — &lt;b&gt;again&lt;/b&gt;" in page
    report = operator.get("/admin/anomalies/feedback/").content.decode()
    assert "chat-api:gpt-4:latency_ms: 100% of 5 votes" in report
    address = html.unescape(re.search(r'href="(/admin/anomalies/detectionoverride/add/[^"]*)"', report)[1])
    initial = operator.get(address).context["adminform"].form.initial
    assert (initial["service"], initial["metric"], initial["sensitivity"]) == ("chat-api", "latency_ms", "low")
    assert not DetectionOverride.objects.exists()
    assert b"detectionoverride/add/?" not in login("vera", "viewer").get("/admin/anomalies/feedback/").content
