"""Fixtures of the alerting tests."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from tests.alerting.factories import LOOPBACK, alerting_settings


@pytest.fixture
def loopback_allowed(settings: Settings) -> None:
    """Webhooks may reach this machine."""
    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": LOOPBACK}, rabbitmq={"enabled": False})
