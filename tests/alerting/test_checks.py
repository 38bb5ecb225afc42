"""Wrong settings are said at start, with what to do."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from django.core import checks
from pydantic import SecretStr
from pytest_django import Settings

from tests.alerting.factories import SECRET, alerting_settings

GOOD = {"enabled": True, "url": "https://x.example/", "secret": SecretStr(SECRET)}


def found() -> dict[str, checks.CheckMessage]:
    return {str(m.id): m for m in checks.run_checks() if str(m.id).startswith("alerting.")}


def test_good_settings_raise_nothing(settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(webhook=GOOD)
    assert found() == {}


@pytest.mark.parametrize(
    ("webhook", "identity", "words"),
    [
        (GOOD | {"url": None}, "alerting.E001", "url is not set"),
        (GOOD | {"secret": None}, "alerting.E002", "secret is empty"),
        (GOOD | {"secret": SecretStr("whsec_AAAA")}, "alerting.E002", "24 to 64"),
        (GOOD | {"url": "http://x.example/"}, "alerting.W001", "not encrypted"),
        (GOOD | {"timeout_secs": 60.0}, "alerting.W003", "above 15"),
        ({"allowed_private_networks": (ip_network("0.0.0.0/0"),)}, "alerting.W004", "every address"),
    ],
)
def test_a_wrong_setting_is_named_with_a_hint(
    settings: Settings, webhook: dict[str, Any], identity: str, words: str
) -> None:
    settings.DEVELOPMENT = False
    settings.SENTINEL = alerting_settings(webhook=webhook)
    message = found()[identity]
    assert words in message.msg
    assert message.hint


def test_hours_that_are_kept_for_less_than_a_month_are_named(settings: Settings) -> None:
    storage = settings.SENTINEL.storage
    short = storage.model_copy(update={"retention": storage.retention.model_copy(update={"hours": 31})})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"storage": short})
    assert "monthly budgets" in found()["alerting.W007"].msg


@pytest.mark.parametrize(("keys", "identity"), [([], "alerting.W002"), (["short"], "alerting.E003")])
def test_keys_that_cannot_encrypt_are_named(settings: Settings, keys: list[str], identity: str) -> None:
    settings.ENCRYPTION_KEYS = keys
    assert found()[identity].hint


def test_no_check_repeats_a_secret(settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(webhook=GOOD | {"secret": SecretStr("tiny-pw")})
    assert "tiny-pw" not in str(found())


@pytest.mark.parametrize(
    ("email", "identity", "words"),
    [
        ({"host": "mail", "from_address": None}, "alerting.W005", "from_address is not set"),
        (
            {"host": "mail", "from_address": "a@example.com", "security": "none", "password": SecretStr("pw")},
            "alerting.W006",
            "unencrypted",
        ),
    ],
)
def test_a_mail_server_that_is_half_set_up_is_named(
    settings: Settings, email: dict[str, Any], identity: str, words: str
) -> None:
    settings.SENTINEL = alerting_settings(email=email)
    assert words in found()[identity].msg
