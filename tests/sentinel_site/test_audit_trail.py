"""The audit trail: who did what, when, from where, of which project; and what it never holds."""

from __future__ import annotations

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from alerting.models import Channel, Silence
from sentinel_site.access.trail import written_by
from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db

TRAIL = "/admin/auditlog/logentry/"


def entry_about(row: object) -> LogEntry:
    return LogEntry.objects.get_for_object(row).first()


def login(name: str, group: str | None = None, **values) -> Client:
    client = Client()
    client.force_login(catalogue.person(name, group, **values))
    return client


def rule(client: Client, name: str, **headers) -> None:
    channel = Channel.objects.create(name="c", kind="email")
    body = {"name": name, "matchers": [], "channels": [channel.pk]}
    answer = client.post("/api/v1/alert-rules", body, content_type="application/json", **headers)
    assert answer.status_code == 201, answer.content


def test_what_a_program_changes_is_written_down_under_its_name_and_address(client):
    rule(client, "night", headers=bearer(catalogue.token("write", name="deploy-bot")[1]), REMOTE_ADDR="192.0.2.7")
    entry = LogEntry.objects.get(object_repr="night", action=LogEntry.Action.CREATE)
    assert (entry.additional_data["actor"], entry.actor, entry.remote_addr) == ("deploy-bot", None, "192.0.2.7")


def test_what_a_person_changes_stays_under_their_name_when_the_account_is_gone():
    rule(login("otto", "operator", is_superuser=True), "night")
    entry = LogEntry.objects.get(object_repr="night", action=LogEntry.Action.CREATE)
    assert (entry.actor.username, entry.additional_data["actor"]) == ("otto", "otto")
    User.objects.filter(username="otto").delete()
    entry.refresh_from_db()
    assert (entry.actor, entry.additional_data["actor"]) == (None, "otto")


def test_what_a_command_or_the_machine_changes_is_told_apart():
    assert entry_about(Channel.objects.create(name="a", kind="email")).additional_data["actor"] == "sentinel"
    with written_by("root on host"):
        made = Channel.objects.create(name="b", kind="email")
    assert entry_about(made).additional_data["actor"] == "root on host"


def test_rights_given_and_taken_are_in_the_trail():
    user = catalogue.person("vera", "viewer", projects=("blue",))
    user.set_password("another password, longer")
    user.save()
    changes = [entry.changes for entry in LogEntry.objects.get_for_object(user)]
    assert {"groups": {"type": "m2m", "operation": "add", "objects": ["viewer"]}} in changes
    assert {"password": ["********", "********"]} in changes
    assert entry_about(catalogue.project("blue")).changes["members"]["objects"] == ["vera"]


def test_logins_and_logouts_are_in_the_trail(client):
    user = catalogue.person("vera", "viewer")
    form = {"username": "vera", "password": "let me in, please"}
    client.post("/admin/login/?next=/", form, REMOTE_ADDR="192.0.2.9")
    client.post("/admin/logout/")
    entries = LogEntry.objects.get_for_object(user).filter(action=LogEntry.Action.ACCESS)
    told = [(entry.changes["event"][1], entry.remote_addr) for entry in entries.order_by("timestamp")]
    assert told == [("logged in", "192.0.2.9"), ("logged out", "127.0.0.1")]


def test_members_of_a_project_see_the_entries_about_it_alone():
    ada = login("ada", "admin", projects=("blue",))
    for name in ("blue", "red"):
        Channel.objects.create(name=f"channel of {name}", kind="email", project=catalogue.project(name))
    Channel.objects.create(name="channel of all", kind="email")
    gone = Silence.objects.create(comment="gone", ends_at=catalogue.NOON, project=catalogue.project("red"))
    gone.delete()
    page = ada.get(TRAIL).content.decode()
    assert "channel of blue" in page
    assert "channel of red" not in page
    assert "channel of all" not in page
    assert "gone" not in page
    red = LogEntry.objects.get(object_repr="channel of red")
    assert ada.get(f"{TRAIL}{red.pk}/change/").status_code == 302
    everything = login("root", is_superuser=True).get(TRAIL).content.decode()
    assert all(name in everything for name in ("channel of blue", "channel of red", "channel of all", "gone"))


def test_only_the_group_admin_sees_the_trail_and_nobody_changes_it():
    entry = entry_about(Channel.objects.create(name="a", kind="email"))
    assert login("vera", "viewer").get(TRAIL).status_code == 403
    assert login("otto", "operator").get(TRAIL).status_code == 403
    root = login("root", is_superuser=True)
    assert root.get(f"{TRAIL}{entry.pk}/change/").status_code == 200
    assert root.get(f"{TRAIL}add/").status_code == 403
    for action in ("change", "delete"):
        assert root.post(f"{TRAIL}{entry.pk}/{action}/", {"post": "yes"}).status_code == 403
    root.post(TRAIL, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})
    assert LogEntry.objects.filter(pk=entry.pk).exists()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=pager", {"pager"}),
        ("q=channel", {"pager", "mailbox"}),
        ("q=silence", {"quiet"}),
        ("q=enabled", {"mailbox"}),
        ("q=deploy-bot", {"quiet"}),
        ("who=deploy-bot", {"quiet"}),
        ("q=nothing", set()),
    ],
)
def test_the_trail_is_searched(query, found):
    Channel.objects.create(name="pager", kind="webhook")
    mailbox = Channel.objects.create(name="mailbox", kind="email")
    LogEntry.objects.all().delete()
    with written_by("deploy-bot"):
        Silence.objects.create(comment="quiet", ends_at=catalogue.NOON)
    mailbox.enabled = False
    mailbox.save()
    pager = Channel.objects.get(name="pager")
    pager.kind = "slack"
    pager.save()
    rows = login("root", is_superuser=True).get(f"{TRAIL}?{query}").context["cl"].result_list
    assert {row.object_repr.rpartition(": ")[2] for row in rows if row.content_type.name != "user"} == found
