"""Secrets at rest."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from pytest_django import Settings

from alerting.models import Channel
from tests.alerting.factories import SECRET, a_webhook

pytestmark = pytest.mark.django_db


def stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM alerting_channel WHERE name = 'hook'")
        return str(cursor.fetchone()[0])


def test_the_database_holds_no_secret_that_can_be_read() -> None:
    a_webhook("https://x.example/")
    assert SECRET not in stored()
    assert Channel.objects.get(name="hook").secret == SECRET


def test_two_channels_with_one_secret_do_not_look_alike() -> None:
    first = a_webhook("https://x.example/")
    before = stored()
    first.save()
    assert stored() != before


def test_a_former_key_still_opens_and_the_newest_one_seals(settings: Settings) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [old]
    a_webhook("https://x.example/")
    settings.ENCRYPTION_KEYS = [new, old]
    channel = Channel.objects.get(name="hook")
    channel.save()
    settings.ENCRYPTION_KEYS = [new]
    assert Channel.objects.get(name="hook").secret == SECRET


def test_a_secret_that_no_key_opens_is_an_error_and_not_an_empty_secret(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    a_webhook("https://x.example/")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(ImproperlyConfigured, match="former key"):
        Channel.objects.get(name="hook")
