"""Lists of the admin taken along as files: whole, filtered, only what one may see, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerting.models import Channel
from anomalies.models import Anomaly, Incident
from baselines.admin_exports import ExportingAdmin, as_csv, as_json, defused
from tests.alerting import factories
from tests.support import catalogue
from tests.support.catalogue import NOON

pytestmark = pytest.mark.django_db

ANOMALIES = "/admin/anomalies/anomaly/export/"


def login(name: str, group: str | None = None, **values) -> Client:
    client = Client()
    client.force_login(catalogue.person(name, group, **values))
    return client


def taken(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    assert "attachment" in answer.headers["Content-Disposition"]
    return b"".join(answer.streaming_content).decode()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff0d1"])
def test_what_a_spreadsheet_would_run_is_a_text(text):
    service = catalogue.service(text + "cmd", models=())
    catalogue.anomaly(service, model=text, note=text)
    (row,) = table(taken(login("vera", "viewer"), f"{ANOMALIES}csv/"))
    assert (row["service"], row["model"], row["note"]) == (f"'{text}cmd", f"'{text}", f"'{text}")


def test_numbers_stay_numbers_and_texts_with_commas_and_quotes_stay_whole():
    assert [defused(value) for value in (-1.5, 0, None, True)] == [-1.5, 0, None, True]
    assert defused({"a": ["=1"]}) == '{"a":["=1"]}'
    lines = list(as_csv(["a", "b"], [['say "x", y', "two\nlines"]]))
    assert list(csv.reader(io.StringIO("".join(lines), newline="")))[1] == ['say "x", y', "two\nlines"]
    assert json.loads("".join(as_json(["a"], []))) == []
    assert json.loads("".join(as_json(["a"], [("=1",), (None,)]))) == [{"a": "=1"}, {"a": None}]


def test_a_file_has_the_rows_of_the_list_with_its_filters_and_search():
    search = catalogue.service("search")
    catalogue.anomaly()
    wanted = catalogue.anomaly(search, severity="warning")
    catalogue.anomaly(search)
    client = login("vera", "viewer")
    page = client.get("/admin/anomalies/anomaly/?severity__exact=warning&q=sear").content.decode()
    assert 'href="export/csv/?' in page
    (row,) = json.loads(taken(client, f"{ANOMALIES}json/?severity__exact=warning&q=sear&p=2"))
    assert (row["id"], row["service"], row["value"], row["detectors"]) == (
        str(wanted.pk),
        "search",
        15234.5,
        {"mad": 4.2, "zscore": 19.9},
    )
    assert client.get(f"{ANOMALIES}csv/?nonsense=1").status_code == 302
    assert client.get(f"{ANOMALIES}xlsx/").status_code == 404


def test_members_of_a_project_take_along_their_rows_alone():
    for name in ("blue", "red"):
        catalogue.anomaly(catalogue.service(f"of {name}", of=name))
        Channel.objects.create(name=f"channel of {name}", kind="email", project=catalogue.project(name))
    client = login("ada", "admin", projects=("blue",))
    assert [row["service"] for row in table(taken(client, f"{ANOMALIES}csv/"))] == ["of blue"]
    assert [row["service"] for row in table(taken(client, "/admin/anomalies/incident/export/csv/"))] == ["of blue"]
    trail = taken(client, "/admin/auditlog/logentry/export/csv/")
    assert "channel of blue" in trail
    assert "channel of red" not in trail


def test_nobody_takes_along_what_they_may_not_see(client):
    paths = {
        ANOMALIES: {"viewer", "operator", "admin"},
        "/admin/anomalies/incident/export/": {"viewer", "operator", "admin"},
        "/admin/alerting/delivery/export/": {"viewer", "operator", "admin"},
        "/admin/auditlog/logentry/export/": {"admin"},
    }
    clients = {name: login(name, name) for name in ("viewer", "operator", "admin")} | {"none": login("none")}
    for path, admitted in paths.items():
        answers = {name: each.get(f"{path}csv/").status_code for name, each in clients.items()}
        assert {name for name, code in answers.items() if code == 200} == admitted, path
        assert client.get(f"{path}csv/").headers["Location"].startswith("/admin/login/")


def test_a_thousand_rows_take_no_more_queries_than_one():
    service = catalogue.service()
    incident = Incident.objects.create(service=service, first_seen=NOON, last_seen=NOON)
    values = [catalogue.anomaly_values(service, NOON + timedelta(seconds=number)) for number in range(1500)]
    client = login("vera", "viewer")
    Anomaly.objects.create(incident=incident, **values[0])
    with CaptureQueriesContext(connection) as one:
        taken(client, f"{ANOMALIES}csv/")
    Anomaly.objects.bulk_create(Anomaly(incident=incident, **each) for each in values[1:])
    with CaptureQueriesContext(connection) as many:
        assert len(table(taken(client, f"{ANOMALIES}csv/"))) == 1500
    assert len(many) == len(one)


def test_a_long_file_is_made_in_little_memory():
    def rows():
        for number in range(30_000):
            yield (number, "x" * 100)

    tracemalloc.start()
    written = sum(len(line) for line in as_csv(["n", "text"], rows()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert written > 3_000_000
    assert peak < 500_000


def test_every_exporting_list_names_columns_that_exist():
    exporting = {model: each for model, each in admin.site._registry.items() if isinstance(each, ExportingAdmin)}
    assert {model.__name__ for model in exporting} >= {"Anomaly", "Incident", "Delivery", "LogEntry"}
    root = login("root", is_superuser=True)
    factories.a_delivery()
    for model in exporting:
        for form in ("csv", "json"):
            taken(root, f"/admin/{model._meta.app_label}/{model._meta.model_name}/export/{form}/")
