"""The admin of alerting, as people with different rights use it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from alerting.config_channels import RABBITMQ, sync_config_channels
from alerting.models import AlertRule, Attempt, Channel, Delivery
from baselines.models import Project
from tests.alerting.factories import (
    NOW,
    SECRET,
    a_service,
    a_telling,
    a_webhook,
    alerting_settings,
    an_alert,
    an_anomaly,
)
from tests.alerting.receivers import answer, receiver

pytestmark = pytest.mark.django_db

OTHER_SECRET = "whsec_" + "b3RoZXItc2VudGluZWwtc2VjcmV0LTMyLWJ5dGVzISE="


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def member(client: Client) -> Client:
    """Somebody who may do everything in alerting, within one project."""
    user = User.objects.create_user("member", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="alerting"))
    Project.objects.get_or_create(name="default")[0].members.add(user)
    client.force_login(user)
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:alerting_{name}", args=args)


def channel_form(**changes: Any) -> dict[str, Any]:
    values = {"name": "hook", "kind": "webhook", "enabled": "on", "setting_url": "https://x.example/"}
    return values | {"secret": SECRET, "project": ""} | changes


def errors(response: Any) -> str:
    return str(response.context["adminform"].form.errors.as_text())


def said(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def test_a_channel_is_made_with_its_secret(admin: Client) -> None:
    response = admin.post(page("channel_add"), channel_form())
    assert response.status_code == 302
    channel = Channel.objects.get(name="hook")
    assert (channel.secret, channel.config, channel.origin) == (SECRET, {"url": "https://x.example/"}, "operator")


def test_no_page_ever_shows_a_secret(admin: Client) -> None:
    channel = a_webhook("https://x.example/")
    for url in (page("channel_change", channel.pk), page("channel_changelist"), page("channel_history", channel.pk)):
        response = admin.get(url)
        assert response.status_code == 200
        assert SECRET.encode() not in response.content
    refused = admin.post(page("channel_change", channel.pk), channel_form(name="", secret=OTHER_SECRET))
    assert OTHER_SECRET.encode() not in refused.content


@pytest.mark.parametrize(
    ("given", "keep", "stored"),
    [("", "", SECRET), (OTHER_SECRET, "", OTHER_SECRET), (OTHER_SECRET, "on", f"{OTHER_SECRET}\n{SECRET}")],
)
def test_a_secret_is_kept_replaced_or_rotated(admin: Client, given: str, keep: str, stored: str) -> None:
    channel = a_webhook("https://x.example/")
    form = channel_form(secret=given) | ({"keep_former_secret": keep} if keep else {})
    assert admin.post(page("channel_change", channel.pk), form).status_code == 302
    assert Channel.objects.get(pk=channel.pk).secret == stored


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"setting_url": ""}, "is required: where alerts are posted"),
        ({"setting_url": "ftp://x"}, "must begin with https://"),
        ({"setting_headers": "[1]"}, "must be an object"),
        ({"setting_headers": "{"}, "Enter a valid JSON"),
        ({"setting_timeout_secs": "60"}, "at most 15"),
        ({"setting_timeout_secs": "soon"}, "Enter a number"),
        ({"title_template": "{{ sevrity }}"}, "sevrity"),
        ({"body_template": "{% for %}"}, "body_template"),
        ({"rate_limit": "0"}, "rate_limit"),
        ({"secret": "whsec_x"}, "not base64"),
        ({"secret": ""}, "secret is empty"),
        ({"kind": "pigeon"}, "pigeon"),
    ],
)
def test_settings_that_cannot_work_are_said_in_the_form(admin: Client, changes: dict[str, str], words: str) -> None:
    response = admin.post(page("channel_add"), channel_form(**changes))
    assert response.status_code == 200
    assert words in errors(response)
    assert not Channel.objects.filter(name="hook").exists()


def test_the_channels_of_the_configuration_are_shown_and_cannot_be_changed(admin: Client) -> None:
    sync_config_channels()
    channel = Channel.objects.get(name=RABBITMQ)
    shown = admin.get(page("channel_change", channel.pk))
    assert shown.status_code == 200
    assert "secret" not in {field for row in shown.context["adminform"] for line in row for field in line.fields}
    assert admin.post(page("channel_change", channel.pk), channel_form()).status_code == 403
    assert admin.post(page("channel_delete", channel.pk), {"post": "yes"}).status_code == 403


def test_a_channel_with_a_history_is_not_deleted(admin: Client) -> None:
    channel = a_webhook("https://x.example/")
    a_telling(channel)
    assert admin.post(page("channel_delete", channel.pk), {"post": "yes"}).status_code == 403
    assert Channel.objects.filter(pk=channel.pk).exists()


def test_send_test_tells_what_the_receiver_really_said(admin: Client, loopback_allowed: None) -> None:
    with receiver(answer(418, b"short and stout")) as teapot, receiver(answer(200, b"thanks")) as hook:
        chosen = [a_webhook(teapot.url, "teapot").pk, a_webhook(hook.url, "hook").pk]
        form = {"action": "send_test_selected", "_selected_action": chosen}
        text = said(admin.post(page("channel_changelist"), form, follow=True))
    assert "teapot: the receiver answered 418. short and stout" in text
    assert "hook: accepted the test and answered 200" in text
    assert b'"type":"channel.test"' in hook.requests[0].body


def test_a_forbidden_address_is_told_by_the_test_and_not_connected_to(admin: Client) -> None:
    with receiver(answer(200)) as canary:
        form = {"action": "send_test_selected", "_selected_action": [a_webhook(canary.url).pk]}
        text = said(admin.post(page("channel_changelist"), form, follow=True))
    assert "allowed_private_networks" in text
    assert canary.connections == 0


def test_dead_deliveries_are_replayed_and_others_left_alone(admin: Client) -> None:
    channel = a_webhook("https://x.example/")
    dead, done = (a_telling(channel, an_anomaly(), status=status) for status in ("dead", "delivered"))
    form = {"action": "replay_dead", "_selected_action": [str(dead.pk), str(done.pk)]}
    text = said(admin.post(page("delivery_changelist"), form, follow=True))
    assert "1 will be tried again" in text
    statuses = dict(Delivery.objects.values_list("pk", "status"))
    assert statuses == {dead.pk: "pending", done.pk: "delivered"}


def test_a_telling_shows_its_attempts_and_cannot_be_edited(admin: Client) -> None:
    delivery = a_telling(a_webhook("https://x.example/"))
    Attempt.objects.create(delivery=delivery, number=1, started_at=NOW, ok=False, error="refused by the receiver")
    response = admin.get(page("delivery_change", delivery.pk))
    assert b"refused by the receiver" in response.content
    assert admin.post(page("delivery_change", delivery.pk), {}).status_code == 403
    assert admin.get(page("delivery_add")).status_code == 403


@pytest.mark.parametrize("name", ["channel", "alertrule", "alert", "delivery"])
def test_a_list_takes_the_same_number_of_queries_however_long_it_is(
    admin: Client, name: str, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        channel = a_webhook("https://x.example/", f"hook{number}")
        AlertRule.objects.create(name=f"rule{number}")
        a_telling(channel, an_anomaly())
    with django_assert_max_num_queries(12):
        assert admin.get(page(f"{name}_changelist")).status_code == 200


def test_a_member_sees_and_changes_their_project_and_only_sees_what_is_for_all(member: Client) -> None:
    other = Project.objects.create(name="other")
    mine = a_webhook("https://x.example/", "mine", project=Project.objects.get(name="default"))
    common = a_webhook("https://x.example/", "common")
    foreign = a_webhook("https://x.example/", "foreign", project=other)
    names = {channel.name for channel in member.get(page("channel_changelist")).context["cl"].result_list}
    assert {"mine", "common"} <= names
    assert "foreign" not in names
    form = channel_form(name="renamed", project=str(mine.project_id))
    assert member.post(page("channel_change", mine.pk), form).status_code == 302
    assert member.post(page("channel_change", common.pk), form | {"name": "c"}).status_code == 403
    assert member.post(page("channel_change", foreign.pk), form | {"name": "f"}).status_code == 302  # to the index
    assert set(Channel.objects.filter(origin="operator").values_list("name", flat=True)) == {
        "renamed",
        "common",
        "foreign",
    }


def test_a_member_cannot_make_a_channel_for_all_projects(member: Client) -> None:
    response = member.post(page("channel_add"), channel_form())
    assert "project" in errors(response)


def test_a_member_sees_deliveries_about_their_services_only(member: Client) -> None:
    channel = a_webhook("https://x.example/")
    mine = a_telling(channel)
    told = an_alert(mine.notification.anomalies.get())
    theirs = an_anomaly(a_service("secret-service", "other"))
    an_alert(theirs)
    a_telling(channel, theirs)
    assert list(member.get(page("delivery_changelist")).context["cl"].result_list) == [mine]
    assert list(member.get(page("alert_changelist")).context["cl"].result_list) == [told]


def test_enabling_a_channel_again_forgets_why_it_was_disabled(admin: Client) -> None:
    channel = a_webhook("https://x.example/", enabled=False, disabled_reason="410")
    admin.post(page("channel_change", channel.pk), channel_form(secret=""))
    channel.refresh_from_db()
    assert (channel.enabled, channel.disabled_reason) == (True, "")


def test_a_viewer_neither_tests_nor_replays(client: Client, settings: Settings) -> None:
    settings.SENTINEL = alerting_settings()
    viewer = User.objects.create_superuser("viewer")
    viewer.is_superuser = False
    viewer.save()
    viewer.user_permissions.set(
        Permission.objects.filter(content_type__app_label="alerting", codename__startswith="view_")
    )
    project, _ = Project.objects.get_or_create(name="default")
    project.members.add(viewer)
    client.force_login(viewer)
    channel = a_webhook("https://x.example/", project=project)
    delivery = a_telling(channel, status="dead", next_attempt_at=timezone.now())
    client.post(page("delivery_changelist"), {"action": "replay_dead", "_selected_action": [str(delivery.pk)]})
    delivery.refresh_from_db()
    assert delivery.status == "dead"
    assert client.post(page("channel_change", channel.pk), channel_form()).status_code == 403


def test_a_member_sends_no_test_over_a_channel_of_all_projects(member: Client, loopback_allowed: None) -> None:
    with receiver(answer(200)) as hook:
        form = {"action": "send_test_selected", "_selected_action": [a_webhook(hook.url).pk]}
        assert "1 not tested" in said(member.post(page("channel_changelist"), form, follow=True))
    assert hook.requests == []
