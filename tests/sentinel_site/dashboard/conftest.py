"""What every test of the pages may use."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from baselines.models import ServedModel, Service
from sentinel_site.dashboard import costs, stream, telemetry, views
from tests.support import catalogue


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    """Pages hold their answers for a second; here a second is a test of its own."""
    views.recent.clear()
    stream.recent.clear()
    costs.outlooks.clear()
    telemetry.long_ranges.clear()


@pytest.fixture
def viewer(db: None) -> User:
    return catalogue.person("vera", "viewer")


@pytest.fixture
def operator(db: None) -> User:
    return catalogue.person("olga", "operator")


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def served(name: str = "chat-api", models: tuple[str, ...] = ("gpt-4",), of: str = "default") -> Service:
    """A service that was heard of just now."""
    now = timezone.now()
    row = catalogue.service(name, of, models)
    ServedModel.objects.filter(service=row).update(last_seen=now)
    return row


def minutes(service: str = "chat-api", count: int = 5, **values: object) -> None:
    """The last `count` minutes of a service, the newest two minutes old."""
    now = timezone.now().replace(second=0, microsecond=0)
    for back in range(count):
        catalogue.minute(service, now - timedelta(minutes=2 + back), **{"first_offset": back} | values)
