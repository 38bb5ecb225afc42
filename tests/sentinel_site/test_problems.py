"""Errors are problem documents wherever they arise."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.test import Client
from rest_framework import exceptions

from baselines.models import Service
from sentinel_site.problems import field_errors
from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot():
    client = Client(raise_request_exception=False)
    client.defaults["HTTP_AUTHORIZATION"] = bearer(catalogue.token("admin")[1])["authorization"]
    return client


def check_problem(answer, code: int) -> dict:
    assert answer.status_code == code
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert (document["type"], document["status"]) == ("about:blank", code)
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == answer.wsgi_request.path
    return document


def test_an_unknown_path_of_the_api_is_a_problem(robot):
    check_problem(robot.get("/api/v1/nothing"), 404)
    check_problem(robot.get("/api/v9"), 404)


def test_an_unknown_path_elsewhere_is_a_page(robot):
    assert robot.get("/nothing").headers["Content-Type"].startswith("text/html")


def test_a_method_that_is_not_allowed_is_a_problem_that_says_which_are(robot):
    answer = robot.delete("/api/v1/anomalies")
    check_problem(answer, 405)
    assert "GET" in answer.headers["Allow"]


def test_a_missing_token_is_a_problem():
    check_problem(Client().get("/api/v1/anomalies"), 401)


def test_a_problem_of_a_view_that_renders_html_or_yaml_is_json_too():
    check_problem(Client().get("/api/v1/docs/", headers={"accept": "text/html"}), 401)
    check_problem(Client().get("/api/v1/schema/"), 401)


def test_wrong_parameters_are_named_by_field_and_in_the_detail(robot):
    document = check_problem(robot.get("/api/v1/anomalies?limit=0&severity=x"), 400)
    assert set(document["errors"]) == {"limit", "severity"}
    assert "limit" in document["detail"]


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"note": NaN}', b"1" * 5000, b'{"note": "\\ud800"}']
)
def test_a_body_that_is_no_json_is_a_problem(robot, body):
    path = f"/api/v1/anomalies/{catalogue.anomaly().id}/resolve"
    check_problem(robot.post(path, body, content_type="application/json"), 400)


def test_a_body_of_another_type_is_a_problem(robot):
    path = f"/api/v1/anomalies/{catalogue.anomaly().id}/resolve"
    check_problem(robot.post(path, b"<a/>", content_type="text/xml"), 415)


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(robot):
    document = check_problem(
        robot.generic("POST", "/api/v1/anomalies", b"{}", content_type="application/json", CONTENT_LENGTH="10485761"),
        413,
    )
    assert "10485760" in document["detail"]


def test_the_unforeseen_is_a_problem_that_gives_nothing_away(robot, monkeypatch):
    def fail(*args):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(Service.objects), "visible_to", fail)
    answer = robot.get("/api/v1/services")
    check_problem(answer, 500)
    assert b"secret" not in answer.content


def test_a_database_that_is_away_is_a_503_to_try_again(robot, monkeypatch):
    def fail(*args):
        raise OperationalError("connection to 10.0.0.7 refused")

    monkeypatch.setattr(type(Service.objects), "visible_to", fail)
    answer = robot.get("/api/v1/services")
    check_problem(answer, 503)
    assert answer.headers["Retry-After"]
    assert b"10.0.0.7" not in answer.content


def test_nested_errors_are_named_by_their_path():
    detail = {"matchers": [{}, {"op": ["Unknown."]}], "name": ["Too long.", "Taken."]}
    assert field_errors(exceptions.ValidationError(detail)) == {
        "matchers.1.op": ["Unknown."],
        "name": ["Too long.", "Taken."],
    }
