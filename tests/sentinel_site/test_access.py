"""Who is let in, and as whom."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, Group, User
from django.utils import timezone

from anomalies.models import Anomaly
from baselines.models import Project
from sentinel_site.access.bootstrap import ensure_admin, ensure_token
from sentinel_site.access.groups import grant_groups
from sentinel_site.access.models import ApiToken
from sentinel_site.access.principal import TokenPrincipal, scopes_of
from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db

LIST = "/api/v1/anomalies"


def test_a_token_opens_the_api_under_both_names_of_the_scheme(client):
    _, secret = catalogue.token("read")
    for scheme in ("Bearer", "Token", "bearer"):
        assert client.get(LIST, headers={"authorization": f"{scheme} {secret}"}).status_code == 200


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Bearer ", "Token \u00e9", "Bearer a b", "Basic YTpi"])
def test_a_bad_token_is_a_401_that_says_how_to_authenticate(client, header):
    catalogue.token("read")
    answer = client.get(LIST, headers={"authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_an_expired_token_opens_nothing(client):
    _, secret = catalogue.token("read", expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(LIST, headers=bearer(secret)).status_code == 401


def test_a_token_that_expires_later_still_opens(client):
    _, secret = catalogue.token("read", expires_at=timezone.now() + timedelta(hours=1))
    assert client.get(LIST, headers=bearer(secret)).status_code == 200


def test_a_token_is_not_stored(client):
    row, secret = catalogue.token("read")
    assert all(secret not in str(value) for value in ApiToken.objects.filter(pk=row.pk).values().get().values())


def test_a_token_that_shares_its_prefix_with_another_is_told_apart(client):
    row, secret = catalogue.token("read")
    ApiToken.objects.create(name="twin", prefix=row.prefix, digest="0" * 64, scopes=["admin"])
    assert client.get(LIST, headers=bearer(secret)).status_code == 200
    ApiToken.objects.filter(pk=row.pk).delete()
    assert client.get(LIST, headers=bearer(secret)).status_code == 401


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(client):
    row, secret = catalogue.token("read")

    def last_used_after_a_call():
        client.get(LIST, headers=bearer(secret))
        row.refresh_from_db()
        return row.last_used_at

    first = last_used_after_a_call()
    assert first is not None
    assert last_used_after_a_call() == first
    ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
    assert last_used_after_a_call() > first


def test_scopes_of_tokens_and_people():
    assert TokenPrincipal.of(catalogue.token("read", "ingest", "nonsense")[0]).scopes == {"read", "ingest"}
    assert TokenPrincipal.of(catalogue.token("admin")[0]).scopes == {"read", "write", "ingest", "admin"}
    assert scopes_of(catalogue.person("vera", "viewer")) == {"read"}
    assert scopes_of(catalogue.person("otto", "operator")) == {"read", "write"}
    assert "admin" in scopes_of(catalogue.person("ada", "admin"))
    assert "admin" in scopes_of(catalogue.person("root", is_superuser=True))
    assert scopes_of(catalogue.person("nina")) == set()
    assert scopes_of(catalogue.person("gone", "admin", is_active=False)) == set()
    assert scopes_of(AnonymousUser()) == set()


def test_a_session_opens_the_api_and_needs_a_csrf_token_to_write(client):
    anomaly = catalogue.anomaly()
    path = f"{LIST}/{anomaly.id}/acknowledge"
    strict = type(client)(enforce_csrf_checks=True)
    catalogue.person("otto", "operator")
    login = strict.get("/admin/login/")
    form = {
        "username": "otto",
        "password": "let me in, please",
        "csrfmiddlewaretoken": login.cookies["csrftoken"].value,
    }
    assert strict.post("/admin/login/?next=/", form).status_code == 302
    assert strict.get(LIST).status_code == 200
    assert strict.post(path, {}, content_type="application/json").status_code == 403
    assert Anomaly.objects.get().status == "open"
    proof = {"x-csrftoken": strict.cookies["csrftoken"].value}
    assert strict.post(path, {}, content_type="application/json", headers=proof).status_code == 200
    assert Anomaly.objects.get().acknowledged_by_name == "otto"


def test_a_person_sees_the_services_of_their_projects_only(client):
    catalogue.service("mine", of="blue")
    catalogue.service("theirs", of="red")
    client.force_login(catalogue.person("vera", "viewer", projects=("blue",)))
    assert [row["name"] for row in client.get("/api/v1/services").json()["services"]] == ["mine"]


def test_the_migrations_make_the_groups_and_the_default_project():
    assert set(Group.objects.values_list("name", flat=True)) >= {"viewer", "operator", "admin"}
    assert Project.objects.filter(name="default").exists()


def test_groups_hold_the_permissions_of_their_role():
    grant_groups(apps)

    def may(group: str, *names: str) -> list[bool]:
        held = {f"{p.content_type.app_label}.{p.codename}" for p in Group.objects.get(name=group).permissions.all()}
        return [name in held for name in names]

    asked = ("anomalies.view_anomaly", "anomalies.change_anomaly", "alerting.add_channel", "access.add_apitoken")
    assert may("viewer", *asked) == [True, False, False, False]
    assert may("operator", *asked) == [True, True, True, False]
    assert may("admin", *asked) == [True, True, True, True]
    for group in ("viewer", "operator", "admin"):
        assert may(group, "auth.change_user", "auth.add_user", "auth.change_group") == [False] * 3


def test_the_first_operator_is_made_once_and_keeps_their_password():
    assert ensure_admin("first password") is True
    assert ensure_admin("another") is False
    admin = User.objects.get(username="admin")
    assert admin.is_superuser
    assert admin.check_password("first password")


def test_the_first_token_is_made_once_and_opens_everything(client):
    assert ensure_token("any form will do") is True
    assert ensure_token("any form will do") is False
    assert client.get(LIST, headers=bearer("any form will do")).status_code == 200
    assert ApiToken.objects.get().name == "default"
