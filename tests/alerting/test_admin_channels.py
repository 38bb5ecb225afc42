"""The forms of channels, one per kind, with their previews and their health."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from alerting.models import Channel
from tests.alerting.factories import NOW, SECRET, a_webhook
from tests.alerting.test_admin import channel_form, errors, page

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_a_kind_is_chosen_before_anything_is_entered(admin: Client) -> None:
    response = admin.get(page("channel_add"))
    assert b'href="?kind=pagerduty"' in response.content
    shown = admin.get(page("channel_add"), {"kind": "pagerduty"}).content.decode()
    assert "setting_url" in shown
    assert "events.eu.pagerduty.com" in shown
    assert "setting_headers" not in shown


@pytest.mark.parametrize(
    ("kind", "secret", "entered", "config"),
    [
        ("slack", "https://hooks.slack.com/services/T/B/X", {}, {}),
        ("slack", "xoxb-1-2-3", {"channel": "C0123"}, {"channel": "C0123"}),
        ("pagerduty", "0123456789abcdef", {"timeout_secs": "2.5"}, {"timeout_secs": 2.5}),
        ("teams", "https://x.logic.azure.com/workflows/1?sig=2", {}, {}),
        ("alertmanager", "", {"url": "http://am:9093"}, {"url": "http://am:9093"}),
        (
            "email",
            "",
            {"to": "a@example.com\n\n b@example.com ", "from": "s@example.com", "host": "mail", "port": "2525"},
            {"to": ["a@example.com", "b@example.com"], "from": "s@example.com", "host": "mail", "port": 2525},
        ),
        ("rabbitmq", "pw", {"url": "amqp://mq", "persistent": "no"}, {"url": "amqp://mq", "persistent": False}),
        (
            "webhook",
            SECRET,
            {"url": "https://x.example/", "method": "PUT", "headers": '{"X-A": "b"}'},
            {"url": "https://x.example/", "method": "PUT", "headers": {"X-A": "b"}},
        ),
    ],
)
def test_each_kind_has_a_form_that_keeps_what_is_entered_and_shows_it_again(
    admin: Client, kind: str, secret: str, entered: dict[str, str], config: dict[str, Any]
) -> None:
    form = {"name": "c", "kind": kind, "enabled": "on", "secret": secret, "project": ""}
    form |= {f"setting_{name}": value for name, value in entered.items()}
    response = admin.post(page("channel_add"), form)
    assert response.status_code == 302, errors(response)
    channel = Channel.objects.get(name="c")
    assert (channel.kind, channel.config, channel.secret) == (kind, config, secret)
    shown = admin.get(page("channel_change", channel.pk)).context["adminform"].form
    again = {name: shown.get_initial_for_field(shown.fields[name], name) for name in shown.fields}
    values = {name: value for name, value in again.items() if value not in (None, False) and name != "secret"}
    values = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}
    assert admin.post(page("channel_change", channel.pk), values).status_code == 302
    channel.refresh_from_db()
    assert (channel.config, channel.secret) == (config, secret)


def test_the_kind_of_a_channel_stays(admin: Client) -> None:
    channel = a_webhook("https://x.example/")
    admin.post(page("channel_change", channel.pk), channel_form(secret="", kind="slack"))
    channel.refresh_from_db()
    assert (channel.kind, channel.secret) == ("webhook", SECRET)


def test_templates_are_previewed_before_they_are_saved(admin: Client) -> None:
    form = {"title_template": "{{ severity|upper }} in {{ anomaly.service }}", "body_template": ""}
    text = admin.post(page("channel_preview"), form).content.decode()
    assert "CRITICAL in chat-api" in text
    assert "Answers took 15.2 s where 1.2 s is usual." in text
    wrong = admin.post(page("channel_preview"), {"body_template": "{{ anomaly.labels.owner }}<script>"})
    assert "has no attribute" in wrong.content.decode()
    assert b"owner }}<script>" not in wrong.content
    assert admin.get(page("channel_preview")).status_code == 405


def test_whoever_may_not_change_channels_previews_nothing(client: Client) -> None:
    client.force_login(User.objects.create_user("somebody", is_staff=True))
    assert client.post(page("channel_preview"), {}).status_code == 403


def test_the_health_of_a_channel_is_seen_and_a_change_begins_anew(admin: Client) -> None:
    channel = a_webhook("https://x.example/", failure_count=7, failing_since=NOW, last_error="503", retry_at=NOW)
    assert b"7 failures since 2026-03-01 12:00 UTC" in admin.get(page("channel_changelist")).content
    admin.post(page("channel_change", channel.pk), channel_form(secret=""))
    channel.refresh_from_db()
    assert (channel.failure_count, channel.failing_since, channel.retry_at) == (0, None, None)
