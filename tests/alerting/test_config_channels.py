"""The configuration's own channels."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from pydantic import SecretStr
from pytest_django import Settings

from alerting.config_channels import RABBITMQ, WEBHOOK, retry_policy, sync_config_channels, target_of
from alerting.models import Channel
from tests.alerting.factories import SECRET, a_webhook, alerting_settings

pytestmark = pytest.mark.django_db

HOOK = {"enabled": True, "url": "https://alerts.example.com/hook", "secret": SecretStr(SECRET)}


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    Channel.objects.all().delete()


def configure(settings: Settings, **sections: Any) -> None:
    settings.SENTINEL = alerting_settings(**sections)


def test_each_enabled_section_becomes_a_channel_that_people_cannot_change(settings: Settings) -> None:
    configure(settings, rabbitmq={"exchange": "x"}, webhook=HOOK)
    channels = {channel.name: channel for channel in sync_config_channels()}
    assert set(channels) == {RABBITMQ, WEBHOOK}
    assert {channel.origin for channel in channels.values()} == {"config"}
    assert channels[RABBITMQ].config["exchange"] == "x"
    assert channels[WEBHOOK].config["url"] == HOOK["url"]


def test_no_secret_of_the_configuration_reaches_the_database(settings: Settings) -> None:
    configure(settings, rabbitmq={"password": SecretStr("rabbit-pw")}, webhook=HOOK)
    sync_config_channels()
    stored = str(list(Channel.objects.values()))
    assert SECRET not in stored
    assert "rabbit-pw" not in stored


def test_the_secret_is_read_from_the_configuration_when_it_is_needed(settings: Settings) -> None:
    configure(settings, rabbitmq={"password": SecretStr("rabbit-pw")}, webhook=HOOK)
    targets = {channel.name: target_of(channel) for channel in sync_config_channels()}
    assert targets[WEBHOOK].secret == SECRET
    assert targets[RABBITMQ].secret == "rabbit-pw"
    assert targets[RABBITMQ].trusted


def test_a_channel_somebody_made_uses_its_own_secret_and_is_not_trusted() -> None:
    target = target_of(a_webhook("https://x.example/"))
    assert target.secret == SECRET
    assert not target.trusted


def test_nothing_is_written_while_nothing_changes(settings: Settings, django_assert_num_queries: Any) -> None:
    configure(settings, webhook=HOOK)
    sync_config_channels()
    with django_assert_num_queries(1):
        sync_config_channels()


def test_a_changed_setting_is_taken_over_under_the_same_row(settings: Settings) -> None:
    configure(settings, webhook=HOOK)
    before = {channel.name: channel.id for channel in sync_config_channels()}
    configure(settings, webhook=HOOK | {"url": "https://other.example/"})
    after = {channel.name: channel for channel in sync_config_channels()}
    assert after[WEBHOOK].id == before[WEBHOOK]
    assert after[WEBHOOK].config["url"] == "https://other.example/"


def test_a_channel_that_leaves_the_configuration_is_disabled_and_comes_back_with_it(settings: Settings) -> None:
    configure(settings, webhook=HOOK)
    sync_config_channels()
    configure(settings, webhook={"enabled": False})
    assert [channel.name for channel in sync_config_channels()] == [RABBITMQ]
    assert Channel.objects.get(name=WEBHOOK).disabled_reason == "not in the configuration"
    configure(settings, webhook=HOOK)
    assert [channel.name for channel in sync_config_channels()] == [RABBITMQ, WEBHOOK]


def test_a_channel_its_receiver_disabled_stays_so_until_its_settings_change(settings: Settings) -> None:
    configure(settings, webhook=HOOK)
    sync_config_channels()
    Channel.objects.filter(name=WEBHOOK).update(enabled=False, disabled_reason="410")
    assert [channel.name for channel in sync_config_channels()] == [RABBITMQ]
    configure(settings, webhook=HOOK | {"url": "https://other.example/"})
    assert [channel.name for channel in sync_config_channels()] == [RABBITMQ, WEBHOOK]


def test_a_migration_makes_the_channels() -> None:
    call_command("migrate", "alerting", verbosity=0)
    assert Channel.objects.filter(name=RABBITMQ, origin="config").exists()


def test_the_retries_of_each_kind_are_those_of_the_configuration(settings: Settings) -> None:
    configure(
        settings, webhook={"max_retries": 7, "retry_delay_ms": 250, "backoff_multiplier": 3.0}, give_up_after=99.0
    )
    webhook, rabbitmq = retry_policy("webhook"), retry_policy("rabbitmq")
    assert (webhook.max_attempts, webhook.initial_delay, webhook.multiplier) == (7, 0.25, 3.0)
    assert (rabbitmq.max_attempts, rabbitmq.initial_delay, rabbitmq.max_delay) == (3, 1.0, 30.0)
    assert webhook.give_up_after == rabbitmq.give_up_after == 99.0
