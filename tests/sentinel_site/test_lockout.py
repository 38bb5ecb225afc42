"""Guessed passwords: counted by an address that nobody can make up, ended by time or by an administrator."""

from __future__ import annotations

from datetime import timedelta

import pytest
from auditlog.models import LogEntry
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client, RequestFactory
from django.utils import timezone

from sentinel_site.access.addresses import client_address
from tests.support import catalogue

pytestmark = pytest.mark.django_db

LIMIT = 10
RIGHT, WRONG = "let me in, please", "let me in, now"


@pytest.fixture
def behind(settings):
    """Puts so many trusted proxies in front."""

    def change(proxies: int) -> None:
        site = settings.SENTINEL
        api = site.api.model_copy(update={"behind_proxy": proxies > 0})
        access = site.access.model_copy(update={"trusted_proxies": max(proxies, 1)})
        settings.SENTINEL = site.model_copy(update={"api": api, "access": access})

    return change


def try_password(password: str, forwarded: str = "", address: str = "192.0.2.1", name: str = "vera") -> int:
    form = {"username": name, "password": password}
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    return Client().post("/admin/login/?next=/", form, headers=headers, REMOTE_ADDR=address).status_code


def test_after_so_many_wrong_passwords_even_the_right_one_is_refused_for_a_while():
    user = catalogue.person("vera", "viewer")
    answers = [try_password(WRONG) for _ in range(LIMIT)]
    assert answers == [200] * (LIMIT - 1) + [429]
    assert try_password(RIGHT) == 429
    assert try_password(RIGHT, address="192.0.2.2") == 302
    told = [entry.changes["event"][1] for entry in LogEntry.objects.get_for_object(user).filter(action=3)]
    assert "locked out after wrong passwords" in told
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert try_password(RIGHT) == 302


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_a_made_up_address_counts_for_nothing(behind, proxies):
    behind(proxies)
    catalogue.person("vera", "viewer")
    appended = ["198.51.100.7", "10.0.0.2"][:proxies]  # by the first proxy: who asked; by the second: the first
    answers = [try_password(WRONG, ", ".join([f"203.0.113.{number}", *appended])) for number in range(LIMIT)]
    assert answers[-1] == 429
    assert AccessAttempt.objects.values("ip_address").distinct().count() == 1


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (1, "203.0.113.9:51234", "203.0.113.9"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
        (1, "nonsense", "192.0.2.1"),
        (1, "", "192.0.2.1"),
    ],
)
def test_behind_proxies_the_address_is_the_one_that_the_outermost_trusted_one_saw(behind, proxies, forwarded, expected):
    behind(proxies)
    request = RequestFactory().get("/", headers={"x-forwarded-for": forwarded}, REMOTE_ADDR="192.0.2.1")
    assert client_address(request) == expected


def test_an_administrator_sees_lockouts_and_ends_them():
    catalogue.person("vera", "viewer")
    for _ in range(LIMIT):
        try_password(WRONG)
    admin = Client()
    admin.force_login(catalogue.person("ada", "admin"))
    path = "/admin/axes/accessattempt/"
    page = admin.get(path).content.decode()
    assert "locked out" in page
    assert WRONG not in page
    chosen = [str(attempt.pk) for attempt in AccessAttempt.objects.all()]
    admin.post(path, {"action": "let_try_again", "_selected_action": chosen, "index": "0"})
    assert try_password(RIGHT) == 302


def test_the_page_of_a_lockout_says_how_long_it_lasts_and_runs_no_name():
    for _ in range(LIMIT):
        answer = Client().post("/admin/login/", {"username": "<script>alert(1)</script>", "password": WRONG})
    assert answer.status_code == 429
    assert b"900 seconds" in answer.content
    assert b"<script>alert(1)" not in answer.content


@pytest.mark.parametrize("password", ["short-one-1", "123456789012345", "password1234", "vera-at-home"])
def test_weak_passwords_are_refused(password):
    with pytest.raises(ValidationError):
        validate_password(password, User(username="vera-at-home"))
    validate_password("correct horse battery", User(username="vera-at-home"))


def test_people_change_their_own_password_and_stay_logged_in_here_alone():
    user = catalogue.person("vera", "viewer")
    here, elsewhere = Client(), Client()
    here.force_login(user), elsewhere.force_login(user)
    new = "correct horse battery"
    form = {"old_password": RIGHT, "new_password1": new, "new_password2": new}
    assert here.post("/admin/password_change/", form).status_code == 302
    assert here.get("/api/v1/anomalies").status_code == 200
    assert elsewhere.get("/api/v1/anomalies").status_code == 401
    assert (try_password(RIGHT), try_password(new)) == (200, 302)
