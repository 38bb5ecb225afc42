"""The admin of rules, silences and inhibitions, as people with different rights use it."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alerting.models import AlertRule, Inhibition, Silence
from baselines.models import Project
from tests.alerting.factories import a_service, a_webhook, an_anomaly

pytestmark = pytest.mark.django_db

CHATS = '[{"field": "service", "op": "glob", "value": "chat-*"}]'


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


def rule_form(**changes: Any) -> dict[str, Any]:
    """What the page of a new rule posts."""
    rows = {f"{name}-{part}_FORMS": "0" for name in PARTS for part in ("TOTAL", "INITIAL")}
    numbers = {"min_occurrences": "1", "min_duration": "0", "group_wait": "30", "group_interval": "300"}
    values = {"name": "r", "enabled": "on", "order": "1", "min_severity": "warning", "matchers": CHATS}
    return rows | numbers | values | {"repeat_interval": "14400", "group_by": '["incident"]'} | changes


PARTS = ("severity_channels", "escalation_steps")


def steps(*rows: dict[str, Any]) -> dict[str, Any]:
    """What the rows of escalation steps post."""
    found = {f"escalation_steps-{at}-{name}": str(value) for at, row in enumerate(rows) for name, value in row.items()}
    return found | {"escalation_steps-TOTAL_FORMS": str(len(rows))}


def errors(response: Any) -> str:
    return html.unescape(response.context["adminform"].form.errors.as_text())


def said(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def test_a_rule_is_made_with_channels_by_severity_and_escalation(admin: Client) -> None:
    mail, pager = (a_webhook("https://x.example/", name=name) for name in ("mail", "pager"))
    by_severity = {"severity_channels-TOTAL_FORMS": "1", "severity_channels-0-severity": "critical"}
    by_severity |= {"severity_channels-0-channel": str(pager.pk)}
    form = rule_form(channels=[str(mail.pk)]) | by_severity | steps({"order": 1, "channel": pager.pk, "wait": 600})
    response = admin.post(page("alertrule_add"), form)
    assert response.status_code == 302, errors(response)
    rule = AlertRule.objects.get()
    assert list(rule.channels.all()) == [mail]
    assert list(rule.severity_channels.values_list("severity", "channel__name")) == [("critical", "pager")]
    assert list(rule.escalation_steps.values_list("order", "channel__name", "wait")) == [(1, "pager", 600)]
    assert admin.get(page("alertrule_change", rule.pk)).status_code == 200


def test_a_change_of_a_part_of_a_rule_is_a_change_of_the_rule(admin: Client) -> None:
    rule, pager = AlertRule.objects.create(name="r", matchers=[]), a_webhook("https://x.example/")
    before = rule.updated_at
    form = rule_form() | steps({"order": 1, "channel": pager.pk, "wait": 600, "rule": rule.pk})
    assert admin.post(page("alertrule_change", rule.pk), form).status_code == 302
    rule.refresh_from_db()
    assert rule.updated_at > before
    assert rule.escalation_steps.count() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"matchers": '[{"field": "x"}]'}, "matchers[0] must be an object with exactly"),
        ({"matchers": ""}, "must be a list"),
        ({"active_hours": '{"timezone": "Mars"}'}, "IANA"),
        ({"group_by": '["colour"]'}, "labels.<name>"),
        ({"min_occurrences": "0"}, "greater than or equal to 1"),
        ({"group_wait": "99999999"}, "31 days"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_in_the_form(admin: Client, changes: dict[str, str], words: str) -> None:
    assert words in errors(admin.post(page("alertrule_add"), rule_form(**changes)))
    assert not AlertRule.objects.exists()


def test_members_choose_among_the_channels_that_they_see(member: Client) -> None:
    theirs = a_webhook("https://x.example/", name="theirs", project=Project.objects.create(name="red"))
    form = rule_form(project=str(Project.objects.get(name="default").pk))
    refused = member.post(page("alertrule_add"), form | steps({"order": 1, "channel": theirs.pk, "wait": 1}))
    assert refused.status_code == 200
    assert b"theirs" not in member.get(page("alertrule_add")).content
    assert not AlertRule.objects.exists()


def test_a_rule_is_tried_on_last_week_without_being_saved(admin: Client) -> None:
    began = timezone.now() - timedelta(days=3)
    for name in ("chat-api", "chat-web", "mail"):
        an_anomaly(a_service(name), first_seen=began, last_seen=began + timedelta(hours=1), state="ended")
    assert page("alertrule_preview") in admin.get(page("alertrule_add")).content.decode()
    shown = admin.post(page("alertrule_preview"), rule_form(name="")).content.decode()
    assert "2 alerts to each of its channels" in shown
    assert shown.count("Latency spike in chat-") == 2
    assert "mail" not in shown
    refused = admin.post(page("alertrule_preview"), rule_form(group_by="[3]")).content.decode()
    assert "group by: [0] is 3" in refused
    assert not AlertRule.objects.exists()
    assert not LogEntry.objects.filter(content_type__model="alertrule").exists()


def test_a_rule_that_exists_is_tried_under_its_own_name(admin: Client) -> None:
    AlertRule.objects.create(name="r")
    assert "0 alerts" in admin.post(page("alertrule_preview"), rule_form()).content.decode()


def test_a_preview_shows_members_their_projects_and_others_nothing(member: Client, client: Client) -> None:
    an_anomaly(a_service("chat-red", "red"), first_seen=timezone.now(), last_seen=timezone.now())
    form = rule_form(project=str(Project.objects.get(name="default").pk), group_wait="0")
    assert "0 alerts" in member.post(page("alertrule_preview"), form).content.decode()
    assert member.get(page("alertrule_preview")).status_code == 403
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert client.post(page("alertrule_preview"), form).status_code == 403


def a_silence(**changes: Any) -> Silence:
    values = {"matchers": [{"field": "service", "op": "glob", "value": "*"}], "starts_at": timezone.now()}
    return Silence.objects.create(**(values | {"ends_at": timezone.now() + timedelta(hours=1)} | changes))


def silence_form(**changes: Any) -> dict[str, Any]:
    now = timezone.now()
    times = {"starts_at_0": f"{now:%Y-%m-%d}", "starts_at_1": f"{now:%H:%M:%S}", "ends_at_1": "00:00:00"}
    values = {"kind": "silence", "matchers": CHATS, "ends_at_0": "2999-01-01", "comment": "deploy", "weekly": ""}
    return times | values | changes


def test_a_silence_is_made_in_the_name_of_whoever_makes_it(admin: Client) -> None:
    response = admin.post(page("silence_add"), silence_form())
    assert response.status_code == 302, errors(response)
    silence = Silence.objects.get()
    assert (silence.author, silence.comment, silence.state(timezone.now())) == ("root", "deploy", "active")


def test_a_silence_that_cannot_work_is_refused_in_the_form(admin: Client) -> None:
    weekly = '{"timezone": "UTC", "start": "08:00", "end": "09:00"}'
    assert "maintenance only" in errors(admin.post(page("silence_add"), silence_form(weekly=weekly)))
    assert "at least one" in errors(admin.post(page("silence_add"), silence_form(matchers="[]")))
    assert admin.post(page("silence_add"), silence_form(weekly=weekly, kind="maintenance")).status_code == 302


def test_silences_are_ended_now_and_never_deleted(admin: Client) -> None:
    first, second, over = a_silence(), a_silence(), a_silence(ends_at=timezone.now())
    form = {"action": "end_selected", "_selected_action": [first.pk, over.pk]}
    assert "1 ended." in said(admin.post(page("silence_changelist"), form, follow=True))
    ended = admin.post(
        page("silence_change", second.pk), silence_form() | {"alerting_silence_save_and_end": "1"}, follow=True
    )
    assert "It is ended." in said(ended)
    assert {silence.state(timezone.now()) for silence in Silence.objects.all()} == {"ended"}
    assert admin.post(page("silence_delete", first.pk), {"post": "yes"}).status_code == 403
    assert admin.post(page("silence_change", first.pk), silence_form()).status_code == 403, "it is a record now"


def test_members_end_no_silence_of_all_projects(member: Client) -> None:
    common, mine = a_silence(), a_silence(project=Project.objects.get(name="default"))
    form = {"action": "end_selected", "_selected_action": [common.pk, mine.pk]}
    assert "1 ended." in said(member.post(page("silence_changelist"), form, follow=True))
    common.refresh_from_db()
    assert common.state(timezone.now()) == "active"
    assert member.post(page("silence_change", common.pk), silence_form()).status_code == 403


def test_the_inhibition_of_outages_is_there_and_can_be_turned_off(admin: Client) -> None:
    row = Inhibition.objects.get(name="provider outage")
    assert admin.get(page("inhibition_change", row.pk)).status_code == 200
    form = {"name": row.name, "source_matchers": CHATS, "target_matchers": "[]", "equal": "[]", "min_services": "1"}
    assert admin.post(page("inhibition_change", row.pk), form).status_code == 302
    row.refresh_from_db()
    assert not row.enabled
    assert "at least one" in errors(admin.post(page("inhibition_change", row.pk), form | {"source_matchers": "[]"}))
