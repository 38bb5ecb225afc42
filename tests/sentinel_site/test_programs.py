"""What programs pass on their way to the API: remembered tokens, counted requests, entity tags, a line of log."""

from __future__ import annotations

import json
import logging

import fakeredis
import pytest
from redis import RedisError

from baselines import models
from baselines.models import Service
from baselines.remembered import Remembered
from sentinel_site.access import authentication, throttling
from sentinel_site.access.models import ApiToken
from sentinel_site.access.throttling import Tally
from sentinel_site.request_log import log
from tests.support import catalogue
from tests.support.catalogue import bearer

LIST = "/api/v1/anomalies"


class Remembering:
    """What is remembered for two seconds of a clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def made(self) -> Remembered:
        return Remembered(lambda: 2.0, lambda: self.now, name="tests")


@pytest.fixture
def clock(monkeypatch) -> Remembering:
    clock = Remembering()
    monkeypatch.setattr(authentication, "_tokens", clock.made())
    monkeypatch.setattr(models, "_ids_of_projects", clock.made())
    return clock


def test_an_answer_is_remembered_for_its_seconds_and_no_longer():
    clock = Remembering()
    remembered = clock.made()
    assert [remembered.get(*each) for each in (("a", lambda: 1), ("a", lambda: 2), ("b", lambda: 3))] == [1, 1, 3]
    clock.now += 2.0
    assert remembered.get("a", lambda: 2) == 2
    remembered.forget()
    assert remembered.get("a", lambda: 4) == 4
    with pytest.raises(ZeroDivisionError):
        remembered.get("c", lambda: 1 // 0)
    assert remembered.get("c", lambda: 5) == 5


@pytest.mark.django_db
def test_a_token_that_another_process_revoked_works_for_two_seconds_at_most(client, clock):
    row, secret = catalogue.token("read")
    assert client.get(LIST, headers=bearer(secret)).status_code == 200
    ApiToken.objects.filter(pk=row.pk)._raw_delete("default")  # nobody here hears of it
    assert client.get(LIST, headers=bearer(secret)).status_code == 200
    clock.now += 2.0
    assert client.get(LIST, headers=bearer(secret)).status_code == 401


@pytest.mark.django_db
def test_a_token_that_is_revoked_or_changed_here_is_so_at_once(client, clock):
    row, secret = catalogue.token("read")
    assert client.get(LIST, headers=bearer(secret)).status_code == 200
    row.scopes = ["ingest"]
    row.save()
    assert client.get(LIST, headers=bearer(secret)).status_code == 403
    row.delete()
    assert client.get(LIST, headers=bearer(secret)).status_code == 401


@pytest.mark.django_db
def test_a_service_that_leaves_the_project_is_seen_for_two_seconds_at_most(client, clock):
    catalogue.anomaly(catalogue.service("mine", of="blue"), at=catalogue.NOON)
    headers, recent = bearer(catalogue.token("read", of="blue")[1]), f"{LIST}/recent"
    assert client.get(recent, headers=headers).json()["count"] == 1
    Service.objects.update(project=catalogue.project("red"))
    assert client.get(recent, headers=headers).json()["count"] == 1
    clock.now += 2.0
    assert client.get(recent, headers=headers).json()["count"] == 0


@pytest.mark.django_db
def test_a_request_of_a_program_asks_the_database_once(client, clock, django_assert_num_queries):
    catalogue.service()
    headers = bearer(catalogue.token("read", of="default")[1])
    client.get(LIST, headers=headers)
    with django_assert_num_queries(1):
        client.get(LIST, headers=headers)


def tallies(count: int, now: list[float]) -> list[Tally]:
    server = fakeredis.FakeServer()
    return [Tally(lambda: fakeredis.FakeRedis(server=server), lambda: now[0]) for _ in range(count)]


def test_processes_count_together_and_say_how_long_to_wait():
    now = [1_000_000_020.0]  # 40 seconds into a minute
    one, other = tallies(2, now)
    passed = sum(tally.take("token:1", 1000) is None for _ in range(600) for tally in (one, other))
    assert passed == 1000
    assert one.take("token:1", 1000) == 60 - now[0] % 60
    assert one.take("token:2", 1000) is None
    now[0] += 60
    assert one.take("token:1", 1000) is None


def test_a_small_limit_is_kept_exactly():
    (tally,) = tallies(1, [90.0])
    assert [tally.take("user:1", 3) is None for _ in range(5)] == [True, True, True, False, False]


def test_redis_is_asked_once_for_many_requests_and_nobody_is_turned_away_without_it():
    asked = []

    def connect():
        asked.append(1)
        raise RedisError("away")

    now = [90.0]
    tally = Tally(connect, lambda: now[0])
    assert all(tally.take("user:1", 10) is None for _ in range(100))
    assert len(asked) == 1
    now[0] += throttling.REDIS_IS_LEFT_ALONE
    tally.take("user:2", 10)
    assert len(asked) == 2


@pytest.mark.django_db
def test_too_many_requests_are_a_problem_that_says_when_to_come_back(client, monkeypatch):
    monkeypatch.setattr(throttling, "tally", tallies(1, [90.0])[0])
    monkeypatch.setattr(throttling, "limit", lambda: 2)
    headers = bearer(catalogue.token("read")[1])
    answers = [client.get(LIST, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2]["Retry-After"] == "30"
    assert answers[2].json()["title"] == "Too Many Requests"


@pytest.mark.django_db
def test_who_has_the_very_answer_is_told_so(client):
    catalogue.anomaly()
    path, headers = f"{LIST}/recent", bearer(catalogue.token("read")[1])
    first = client.get(path, headers=headers)
    same = client.get(path, headers=headers | {"if-none-match": f'"other", {first["ETag"]}'})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", first["ETag"])
    catalogue.anomaly()
    assert client.get(path, headers=headers | {"if-none-match": first["ETag"]}).status_code == 200
    assert "ETag" not in client.get(path)


@pytest.mark.django_db
def test_a_request_is_one_line_that_names_the_token_and_no_personal_data(client, caplog):
    row, secret = catalogue.token("read", name="ann@example.org")
    log.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, log.name)
    try:
        headers = bearer(secret) | {"x-request-id": "r-1"}
        client.get(f"{LIST}?service=ann@example.org", headers=headers)
        client.get("/health/live")
    finally:
        log.removeHandler(caplog.handler)
    (line,) = [record.getMessage() for record in caplog.records if record.name == log.name]
    assert f"token:{row.pk}" in line
    assert "example.org" not in line
    assert " 200 " in line or json.loads(line)["status"] == 200
