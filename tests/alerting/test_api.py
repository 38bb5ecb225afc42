"""The API of alerting, as programs use it: channels, rules, silences, deliveries."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.utils import timezone

from alerting.models import AlertRule, Attempt, Channel, Silence
from anomalies.models import Anomaly
from tests.alerting.factories import NOW, SECRET, a_delivery, a_service, a_webhook, an_anomaly
from tests.alerting.receivers import answer, receiver
from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db

OTHER_SECRET = "whsec_" + "b3RoZXItc2VudGluZWwtc2VjcmV0LTMyLWJ5dGVzISE="
HOOK = {"name": "hook", "kind": "webhook", "config": {"url": "https://x.example/"}, "secret": SECRET}
CHANNELS, RULES = "/api/v1/channels", "/api/v1/alert-rules"
SILENCES, DELIVERIES, INHIBITIONS = "/api/v1/silences", "/api/v1/deliveries", "/api/v1/inhibitions"
TEAM = [{"field": "labels.team", "op": "exact", "value": "search"}]


def sender(client: Any, *scopes: str, of: str | None = None) -> Any:
    headers = bearer(catalogue.token(*scopes, of=of, name="robot")[1])

    def send(method: str, path: str, body: Any = None) -> Any:
        return getattr(client, method)(path, body, content_type="application/json", headers=headers)

    return send


@pytest.fixture
def send(client: Any) -> Any:
    return sender(client, "read", "write")


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 400, response.content
    found: dict[str, list[str]] = response.json()["errors"]
    return found


def made(response: Any) -> dict[str, Any]:
    assert response.status_code == 201, response.content
    row: dict[str, Any] = response.json()
    return row


def actions(model: str, pk: object) -> list[str]:
    entries = LogEntry.objects.filter(content_type__model=model, object_pk=str(pk)).order_by("id")
    return [entry.get_action_display() for entry in entries]


class TestChannels:
    def test_a_channel_is_written_read_changed_and_deleted(self, send: Any) -> None:
        row = made(send("post", CHANNELS, HOOK))
        assert (row["name"], row["config"], row["has_secret"], row["enabled"]) == ("hook", HOOK["config"], True, True)
        path = f"{CHANNELS}/{row['id']}"
        changed = send("patch", path, {"enabled": False, "rate_limit": 5}).json()
        assert (changed["enabled"], changed["rate_limit"], changed["has_secret"]) == (False, 5, True)
        assert send("get", path).json() == changed
        assert changed in send("get", CHANNELS, {"kind": "webhook"}).json()["channels"]
        assert send("delete", path).status_code == 204
        assert send("get", path).status_code == 404
        assert actions("channel", row["id"]) == ["create", "update", "delete"]

    def test_a_channel_that_somebody_changes_begins_anew(self, send: Any) -> None:
        channel = a_webhook("https://x.example/", failure_count=9, failing_since=NOW, retry_at=NOW, last_error="503")
        row = send("patch", f"{CHANNELS}/{channel.pk}", {"config": HOOK["config"]}).json()
        assert (row["failing_since"], row["failure_count"], row["last_error"]) == (None, 0, "")
        channel.refresh_from_db()
        assert channel.retry_at is None

    def test_no_answer_and_no_trail_ever_holds_a_secret(self, send: Any) -> None:
        written = send("post", CHANNELS, HOOK)
        path = f"{CHANNELS}/{made(written)['id']}"
        answers = [written, send("patch", path, {"secret": OTHER_SECRET}), send("get", path), send("get", CHANNELS)]
        refused = send("patch", path, {"secret": OTHER_SECRET, "config": {}})
        trail = str(list(LogEntry.objects.values_list("changes", flat=True)))
        for text in (*(each.content.decode() for each in (*answers, refused)), trail):
            assert SECRET not in text
            assert OTHER_SECRET not in text
        assert Channel.objects.get(name="hook").secret == OTHER_SECRET

    @pytest.mark.parametrize(
        ("body", "stored"),
        [
            ({"name": "x"}, SECRET),
            ({"secret": OTHER_SECRET}, OTHER_SECRET),
            ({"secret": OTHER_SECRET, "keep_former_secret": True}, f"{OTHER_SECRET}\n{SECRET}"),
        ],
    )
    def test_a_secret_is_kept_replaced_or_rotated(self, send: Any, body: dict[str, Any], stored: str) -> None:
        channel = a_webhook("https://x.example/")
        assert send("patch", f"{CHANNELS}/{channel.pk}", body).status_code == 200
        channel.refresh_from_db()
        assert channel.secret == stored

    @pytest.mark.parametrize(
        ("changes", "field", "words"),
        [
            ({"kind": "pigeon"}, "kind", "rabbitmq, webhook"),
            ({"config": {}}, "config", "url is required"),
            ({"config": {"url": "https://x.example/", "color": 1}}, "config", "allowed are"),
            ({"config": [1]}, "config", "dictionary"),
            ({"secret": "whsec_x"}, "secret", "base64"),
            ({"rate_limit": 0}, "rate_limit", "1"),
            ({"name": "taken"}, "name", "already exists"),
            ({"origin": "config"}, "origin", "Allowed: name"),
            ({"project": "nowhere"}, "project", "nowhere"),
        ],
    )
    def test_what_cannot_work_is_a_400_that_names_the_field(
        self, send: Any, changes: dict[str, Any], field: str, words: str
    ) -> None:
        a_webhook("https://x.example/", name="taken")
        found = errors(send("post", CHANNELS, HOOK | changes))
        assert list(found) == [field]
        assert words in found[field][0]
        assert Channel.objects.filter(origin="operator").count() == 1

    def test_a_test_tells_what_the_receiver_really_said(self, send: Any, loopback_allowed: None) -> None:
        with receiver(answer(418, b"short and stout")) as teapot, receiver(answer(200, b"thanks")) as hook:
            refused = send("post", f"{CHANNELS}/{a_webhook(teapot.url, 'teapot').pk}/test").json()
            taken = send("post", f"{CHANNELS}/{a_webhook(hook.url).pk}/test").json()
        assert (refused["ok"], refused["status_code"], refused["answer"]) == (False, 418, "short and stout")
        assert (taken["ok"], taken["status_code"], taken["answer"], taken["error"]) == (True, 200, "thanks", "")
        assert b'"type":"channel.test"' in hook.requests[0].body

    def test_the_channels_of_the_configuration_are_shown_and_not_changed(self, send: Any) -> None:
        shown = {row["name"]: row for row in send("get", CHANNELS).json()["channels"]}["config:rabbitmq"]
        assert shown["origin"] == "config"
        for method in ("patch", "delete"):
            assert send(method, f"{CHANNELS}/{shown['id']}", {"enabled": False}).status_code == 403

    def test_a_channel_with_a_history_stays(self, send: Any) -> None:
        delivery = a_delivery()
        refused = send("delete", f"{CHANNELS}/{delivery.channel_id}")
        assert (refused.status_code, "Disable it" in refused.json()["detail"]) == (409, True)


class TestRules:
    def test_a_rule_is_written_with_all_that_it_names_and_read_as_it_was_written(self, send: Any) -> None:
        first, second, third = (a_webhook("https://x.example/", name=name).pk for name in "abc")
        body = {
            "name": "search by day",
            "order": 5,
            "matchers": TEAM,
            "min_severity": "info",
            "min_occurrences": 3,
            "occurrences_within": 3600,
            "min_duration": 60,
            "active_hours": {"timezone": "Europe/Berlin", "days": ["mon"], "start": "08:00", "end": "18:00"},
            "group_by": ["provider", "labels.team"],
            "group_wait": 1,
            "group_interval": 2,
            "repeat_interval": 3,
            "channels": [first],
            "channels_by_severity": {"critical": [second, third]},
            "continue": True,
            "escalation": [{"channel": third, "wait": 600}, {"channel": second, "wait": 0}],
            "enabled": False,
            "project": "default",
        }
        row = made(send("post", RULES, body))
        assert {name: row[name] for name in body} == body
        assert send("get", f"{RULES}/{row['id']}").json() == row
        assert send("get", RULES).json() == {"alert_rules": [row], "count": 1, "next": None}
        assert AlertRule.objects.get().continue_matching

    def test_what_is_left_out_is_as_usual(self, send: Any) -> None:
        row = made(send("post", RULES, {"name": "all"}))
        usual = {"group_by": ["incident"], "group_wait": 30, "group_interval": 300, "repeat_interval": 14400}
        assert {name: row[name] for name in usual} == usual
        assert (row["continue"], row["escalation"], row["channels_by_severity"]) == (False, [], {})

    def test_a_change_touches_what_it_names_and_nothing_else(self, send: Any) -> None:
        one, other = (a_webhook("https://x.example/", name=name).pk for name in "ab")
        steps = [{"channel": one, "wait": 60}, {"channel": other, "wait": 60}]
        row = made(send("post", RULES, {"name": "r", "channels": [one], "escalation": steps, "group_wait": 7}))
        path = f"{RULES}/{row['id']}"
        changed = send("patch", path, {"escalation": steps[:1], "channels_by_severity": {"info": [other]}}).json()
        kept = {"channels": [one], "group_wait": 7, "escalation": steps[:1], "channels_by_severity": {"info": [other]}}
        assert {name: changed[name] for name in kept} == kept
        emptied = send("patch", path, {"escalation": [], "channels_by_severity": {}, "channels": []}).json()
        assert (emptied["escalation"], emptied["channels_by_severity"], emptied["channels"]) == ([], {}, [])
        assert send("delete", path).status_code == 204
        assert not AlertRule.objects.exists()

    def test_every_part_of_a_rule_is_in_the_trail(self, send: Any) -> None:
        channel = a_webhook("https://x.example/").pk
        named = {"channels_by_severity": {"critical": [channel]}, "escalation": [{"channel": channel, "wait": 1}]}
        row = made(send("post", RULES, {"name": "r", "channels": [channel]} | named))
        assert actions("alertrule", row["id"])[0] == "create"
        models = set(LogEntry.objects.values_list("content_type__model", flat=True))
        assert {"alertrule", "severitychannel", "escalationstep"} <= models

    @pytest.mark.parametrize(
        ("body", "field", "words"),
        [
            ({"matchers": [{"field": "colour", "op": "exact", "value": "x"}]}, "matchers", "allowed are service"),
            ({"matchers": [{"field": "service", "op": "like", "value": "x"}]}, "matchers.0.op", "exact, glob"),
            ({"matchers": [{"field": "service", "op": "regex", "value": "("}]}, "matchers", "no regular expression"),
            ({"matchers": [{"field": "service", "op": "not"}]}, "matchers.0.value", "required"),
            ({"matchers": "all"}, "matchers", "list"),
            ({"min_severity": "fatal"}, "min_severity", "info, warning, critical"),
            ({"min_occurrences": 0}, "min_occurrences", "1"),
            ({"active_hours": {"timezone": "Mars"}}, "active_hours", "IANA"),
            ({"group_by": ["colour"]}, "group_by", "labels.<name>"),
            ({"group_wait": -1}, "group_wait", "0"),
            ({"repeat_interval": 1e9}, "repeat_interval", "2678400"),
            ({"channels": [0]}, "channels", "There is no channel 0"),
            ({"channels_by_severity": {"fatal": []}}, "channels_by_severity.fatal", "info, warning, critical"),
            ({"escalation": [{"channel": 0, "wait": 1}]}, "escalation.0.channel", "There is no channel 0"),
            ({"continue": "perhaps"}, "continue", "boolean"),
            ({"is_continued": True}, "is_continued", "continue"),
        ],
    )
    def test_what_cannot_work_is_a_400_that_names_the_field(
        self, send: Any, body: dict[str, Any], field: str, words: str
    ) -> None:
        found = errors(send("post", RULES, {"name": "r"} | body))
        assert list(found) == [field]
        assert words in found[field][0]
        assert not AlertRule.objects.exists()

    def test_a_rule_of_a_project_names_no_channel_of_another(self, send: Any) -> None:
        catalogue.project("blue")
        red = a_webhook("https://x.example/", project=catalogue.project("red")).pk
        body = {"name": "r", "project": "blue", "channels": [red], "escalation": [{"channel": red, "wait": 1}]}
        assert set(errors(send("post", RULES, body))) == {"channels", "escalation"}
        made(send("post", RULES, body | {"project": "red"}))

    def test_pages_follow_the_order_in_which_rules_are_tried(self, send: Any) -> None:
        for name, order in (("c", 3), ("a", 1), ("b", 1)):
            made(send("post", RULES, {"name": name, "order": order}))
        first = send("get", RULES, {"limit": 2}).json()
        second = send("get", RULES, {"limit": 2, "cursor": first["next"]}).json()
        assert [row["name"] for row in first["alert_rules"] + second["alert_rules"]] == ["a", "b", "c"]
        assert second["next"] is None


class TestPreview:
    PREVIEW = f"{RULES}/preview"

    def anomalies(self) -> None:
        """Of two services: one incident with two anomalies and one alone, ended, and one of months ago."""
        began = timezone.now() - timedelta(hours=20)
        times = {"first_seen": began, "last_seen": began + timedelta(minutes=10), "state": "ended"}
        first = an_anomaly(a_service("chat-api", team="search"), **times)
        second = an_anomaly(first.service, metric="cost_usd", type="cost_spike", severity="warning", **times)
        Anomaly.objects.filter(pk=second.pk).update(incident=first.incident)
        an_anomaly(a_service("mail", team="office"), severity="warning", **times)
        an_anomaly(first.service, first_seen=began - timedelta(days=90), last_seen=began - timedelta(days=90))

    def test_it_says_how_many_alerts_of_what_a_rule_would_have_made(self, send: Any) -> None:
        self.anomalies()
        answer = send("post", self.PREVIEW, {"matchers": TEAM, "hours": 24}).json()
        assert answer["alerts"] == 1
        assert [(g["title"], g["count"]) for g in answer["groups"]] == [
            ("Latency spike in chat-api (gpt-4) and 1 more", 2)
        ]
        everything = send("post", self.PREVIEW, {"group_by": ["service", "metric"]}).json()
        assert (everything["alerts"], len(everything["groups"])) == (3, 3)
        assert not AlertRule.objects.exists()

    @pytest.mark.parametrize(
        ("body", "alerts"),
        [
            ({"min_severity": "critical", "group_by": []}, 1),
            ({"min_duration": 3600}, 0),
            ({"min_occurrences": 2}, 0),
            ({"matchers": [{"field": "service", "op": "exact", "value": "none"}]}, 0),
            ({"hours": 1}, 0),
        ],
    )
    def test_every_condition_counts(self, send: Any, body: dict[str, Any], alerts: int) -> None:
        self.anomalies()
        assert send("post", self.PREVIEW, body).json()["alerts"] == alerts

    def test_what_lasts_is_repeated(self, send: Any) -> None:
        began = timezone.now() - timedelta(hours=10)
        an_anomaly(first_seen=began, last_seen=began)
        assert send("post", self.PREVIEW, {"repeat_interval": 3600}).json()["alerts"] == 10
        found = errors(send("post", self.PREVIEW, {"repeat_interval": 1}))
        assert "more than 10000 times" in found["repeat_interval"][0]

    def test_a_rule_that_cannot_work_is_refused_as_when_it_is_saved(self, send: Any) -> None:
        assert set(errors(send("post", self.PREVIEW, {"group_by": ["x"], "active_hours": 3}))) == {
            "group_by",
            "active_hours",
        }
        assert set(errors(send("post", self.PREVIEW, {"hours": 0}))) == {"hours"}

    def test_it_shows_nobody_what_they_may_not_see(self, client: Any) -> None:
        self.anomalies()
        catalogue.project("blue")
        blue = sender(client, "write", of="blue")
        assert blue("post", self.PREVIEW, {"project": "blue"}).json() == {"alerts": 0, "groups": []}


class TestSilences:
    def body(self, **changes: Any) -> dict[str, Any]:
        return {"matchers": TEAM, "ends_at": (timezone.now() + timedelta(hours=1)).isoformat()} | changes

    def test_a_silence_is_made_changed_and_ended_and_stays(self, send: Any) -> None:
        row = made(send("post", SILENCES, self.body(comment="we know")))
        assert (row["author"], row["state"], row["kind"], row["matchers"]) == ("robot", "active", "silence", TEAM)
        path = f"{SILENCES}/{row['id']}"
        assert send("patch", path, {"comment": "still"}).json()["comment"] == "still"
        ended = send("post", f"{path}/end").json()
        assert ended["state"] == "ended"
        assert send("post", f"{path}/end").json()["ends_at"] == ended["ends_at"], "it was over"
        assert send("delete", path).status_code == 204
        assert send("get", path).json() == ended
        assert send("patch", path, {"comment": "again"}).status_code == 409
        assert actions("silence", row["id"]) == ["create", "update", "update"]

    def test_they_are_found_by_state_and_kind(self, send: Any) -> None:
        later = (timezone.now() + timedelta(minutes=5)).isoformat()
        pending = made(send("post", SILENCES, self.body(starts_at=later)))["id"]
        active = made(send("post", SILENCES, self.body(kind="maintenance")))["id"]
        ended = made(send("post", SILENCES, self.body()))["id"]
        Silence.objects.get(pk=ended).end(timezone.now())
        for query, ids in (
            ({"state": "pending"}, [pending]),
            ({"state": "active"}, [active]),
            ({"state": "ended"}, [ended]),
            ({"kind": "maintenance"}, [active]),
        ):
            assert [row["id"] for row in send("get", SILENCES, query).json()["silences"]] == ids
        assert [row["id"] for row in send("get", SILENCES, {"limit": 1}).json()["silences"]] == [pending]

    @pytest.mark.parametrize(
        ("changes", "field", "words"),
        [
            ({"matchers": []}, "matchers", "empty"),
            ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at", "after starts_at"),
            ({"ends_at": "soon"}, "ends_at", "format"),
            ({"weekly": {"timezone": "UTC", "start": "08:00", "end": "09:00"}}, "weekly", "maintenance only"),
            ({"kind": "maintenance", "weekly": 3}, "weekly", "timezone, days, start, end"),
            ({"kind": "pause"}, "kind", "silence, maintenance"),
            ({"author": "somebody"}, "author", "Allowed: kind"),
        ],
    )
    def test_what_cannot_work_is_a_400_that_names_the_field(
        self, send: Any, changes: dict[str, Any], field: str, words: str
    ) -> None:
        found = errors(send("post", SILENCES, self.body(**changes)))
        assert list(found) == [field]
        assert words in found[field][0]


class TestInhibitions:
    ERRORS = [{"field": "type", "op": "exact", "value": "error_burst"}]

    def body(self, **changes: Any) -> dict[str, Any]:
        return {"name": "outage", "source_matchers": self.ERRORS, "equal": ["provider"]} | changes

    def test_an_inhibition_is_made_changed_and_removed(self, send: Any) -> None:
        row = made(send("post", INHIBITIONS, self.body(target_matchers=TEAM)))
        assert (row["source_matchers"], row["target_matchers"], row["equal"]) == (self.ERRORS, TEAM, ["provider"])
        assert (row["min_services"], row["enabled"], row["project"]) == (1, True, None)
        path = f"{INHIBITIONS}/{row['id']}"
        changed = send("patch", path, {"min_services": 3, "target_matchers": []}).json()
        assert (changed["min_services"], changed["target_matchers"], changed["name"]) == (3, [], "outage")
        assert send("get", path).json() == changed
        names = [row["name"] for row in send("get", INHIBITIONS).json()["inhibitions"]]
        assert names == ["outage", "provider outage"], "one is there from the start"
        assert send("delete", path).status_code == 204
        assert send("get", path).status_code == 404
        assert actions("inhibition", row["id"]) == ["create", "update", "delete"]

    @pytest.mark.parametrize(
        ("changes", "field", "words"),
        [
            ({"source_matchers": []}, "source_matchers", "empty"),
            ({"equal": ["colour"]}, "equal", "'colour'; allowed are"),
            ({"equal": "provider"}, "equal", "must be a list"),
            ({"min_services": 0}, "min_services", "greater than or equal to 1"),
            ({"name": "provider outage"}, "name", "already exists"),
            ({"sources": 3}, "sources", "Allowed: name"),
        ],
    )
    def test_what_cannot_work_is_a_400_that_names_the_field(
        self, send: Any, changes: dict[str, Any], field: str, words: str
    ) -> None:
        found = errors(send("post", INHIBITIONS, self.body(**changes)))
        assert list(found) == [field]
        assert words in found[field][0]


class TestTemplatePreviews:
    PREVIEW = f"{CHANNELS}/preview"

    def test_it_shows_what_a_channel_would_say_of_each_sample(self, send: Any) -> None:
        words = {"title_template": "{{ severity|upper }} {{ anomaly.service }}"}
        shown = {row["sample"]: row for row in send("post", self.PREVIEW, words).json()["previews"]}
        assert shown["one anomaly"]["title"] == "CRITICAL chat-api"
        assert (
            shown["one anomaly"]["text"]
            == "Answers took 15.2 s where 1.2 s is usual.\nSince Jan 31 03:04 UTC, 3 times."
        )
        assert {"several anomalies", "over"} < set(shown)

    def test_a_template_that_cannot_work_is_a_400_that_names_it(self, send: Any) -> None:
        found = errors(send("post", self.PREVIEW, {"body_template": "{{ anomaly.__class__ }}"}))
        assert list(found) == ["body_template"]


class TestDeliveries:
    def test_a_delivery_is_shown_with_what_the_receiver_said(self, send: Any) -> None:
        delivery = a_delivery(status="dead", attempt_count=1, last_error="the receiver answered 500")
        now = timezone.now()
        Attempt.objects.create(delivery=delivery, number=1, started_at=now, ok=False, status_code=500, answer="oh no")
        row = send("get", f"{DELIVERIES}/{delivery.pk}").json()
        assert (row["status"], row["channel"], row["type"], row["rule"]) == ("dead", "hook", "anomaly.opened", None)
        assert (row["next_attempt_at"], row["attempts"], row["count"]) == (None, 1, 1)
        assert [(t["number"], t["status_code"], t["answer"]) for t in row["tries"]] == [(1, 500, "oh no")]
        assert row["anomalies"] == [str(delivery.notification.anomalies.get().pk)]
        assert send("get", f"{DELIVERIES}/{uuid.uuid4()}").status_code == 404

    def test_they_are_found_by_what_they_are_about(self, send: Any) -> None:
        dead, pending = a_delivery(status="dead"), a_delivery()
        for query, found in (
            ({"status": "dead"}, {dead}),
            ({"anomaly": str(pending.notification.anomalies.get().pk)}, {pending}),
            ({"group": str(dead.notification.group_id)}, {dead}),
            ({"channel": "hook", "type": "anomaly.opened", "severity": "critical"}, {dead, pending}),
            ({"channel": "other"}, set()),
            ({"rule": "other"}, set()),
            ({"end": (timezone.now() - timedelta(hours=1)).isoformat()}, set()),
        ):
            shown = send("get", DELIVERIES, query).json()["deliveries"]
            assert {row["id"] for row in shown} == {str(delivery.pk) for delivery in found}, query

    def test_pages_go_from_the_newest_to_the_oldest_and_miss_none(self, send: Any) -> None:
        made_ones = [a_delivery() for _ in range(5)]
        seen, query = [], {"limit": 2}
        while True:
            page = send("get", DELIVERIES, query).json()
            seen += [row["id"] for row in page["deliveries"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert seen == [str(delivery.pk) for delivery in reversed(made_ones)]

    @pytest.mark.parametrize("query", [{"status": "lost"}, {"anomaly": "x"}, {"colour": "red"}, {"limit": 0}])
    def test_a_bad_filter_is_a_400_that_names_it(self, send: Any, query: dict[str, Any]) -> None:
        assert set(errors(send("get", DELIVERIES, query))) == set(query)


@pytest.mark.parametrize(
    ("path", "key", "body"),
    [
        (CHANNELS, "channels", HOOK | {"name": "mine"}),
        (RULES, "alert_rules", {"name": "mine"}),
        (SILENCES, "silences", {"matchers": TEAM, "ends_at": "2999-01-01T00:00:00Z"}),
        (INHIBITIONS, "inhibitions", {"name": "mine", "source_matchers": TEAM}),
    ],
)
def test_who_sees_some_projects_writes_rows_of_those_only(client: Any, path: str, key: str, body: Any) -> None:
    catalogue.project("blue")
    there = {row["id"] for row in sender(client, "read")("get", path).json()[key]}
    theirs = made(sender(client, "write")("post", path, body | {"project": catalogue.project("red").name}))["id"]
    unique = {"name": "common"} if "name" in body else {}
    common = made(sender(client, "write")("post", path, body | unique))["id"]
    blue = sender(client, "read", "write", of="blue")
    ids = {row["id"] for row in blue("get", path).json()[key] if row["id"] not in there}
    assert ids == {common}
    unique = {"name": "of blue"} if "name" in body else {}
    for project in ({}, {"project": None}, {"project": "red"}):
        assert list(errors(blue("post", path, body | unique | project))) == ["project"]
    mine = made(blue("post", path, body | unique | {"project": "blue"}))["id"]
    assert "project" in errors(blue("patch", f"{path}/{mine}", {"project": None}))
    for method in ("patch", "delete"):
        assert blue(method, f"{path}/{common}", {}).status_code == 403
        assert blue(method, f"{path}/{theirs}", {}).status_code == 404
    assert blue("get", f"{path}/{theirs}").status_code == 404


def test_others_test_no_channel_and_end_no_silence_of_all_projects(client: Any) -> None:
    channel = a_webhook("https://x.example/")
    silence = Silence.objects.create(matchers=TEAM, ends_at=timezone.now() + timedelta(hours=1))
    catalogue.project("blue")
    blue = sender(client, "read", "write", of="blue")
    assert blue("post", f"{CHANNELS}/{channel.pk}/test").status_code == 403
    assert blue("post", f"{SILENCES}/{silence.pk}/end").status_code == 403


def test_deliveries_are_seen_by_those_who_see_the_project(client: Any) -> None:
    catalogue.project("blue")
    mine, _ = a_delivery("blue"), a_delivery("red")
    shown = sender(client, "read", of="blue")("get", DELIVERIES).json()["deliveries"]
    assert [row["id"] for row in shown] == [str(mine.pk)]


def test_others_see_and_name_no_channel_of_another_project(client: Any) -> None:
    catalogue.project("blue")
    red = a_webhook("https://x.example/", project=catalogue.project("red"))
    common = AlertRule.objects.create(name="common")
    common.channels.add(red)
    blue = sender(client, "read", "write", of="blue")
    assert blue("get", f"{RULES}/{common.pk}").json()["channels"] == []
    found = errors(blue("post", RULES, {"name": "mine", "project": "blue", "channels": [red.pk]}))
    assert found == {"channels": [f"There is no channel {red.pk} that you can see."]}


def test_others_read_no_delivery_of_another_project(client: Any) -> None:
    catalogue.project("blue")
    theirs = a_delivery("red")
    assert sender(client, "read", of="blue")("get", f"{DELIVERIES}/{theirs.pk}").status_code == 404
