"""`manage.py sentinel`: what it prints for people and for programs, what it does, how it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command
from django.utils import timezone

from alerting.models import Channel, Silence
from anomalies import lifecycle
from anomalies.models import Anomaly, Transition
from baselines.models import Service
from sentinel_site.command_line.anomalies import Operator
from sentinel_site.command_line.following import Follower
from sentinel_site.command_line.printing import printable, table
from sentinel_site.config.loading import PROJECT_ROOT
from tests.support import catalogue

pytestmark = pytest.mark.django_db


def run(*argv: str) -> str:
    out = io.StringIO()
    call_command("sentinel", *argv, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def rows_of(*argv: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run(*argv).splitlines()]


def just_now(of: Service | None = None, **values: object) -> Anomaly:
    return catalogue.anomaly(of, at=timezone.now(), **values)


def test_anomalies_are_a_table_for_people_and_the_rows_of_the_api_for_programs(client):
    older = just_now(severity="warning")
    newer = just_now(catalogue.service("search"))
    catalogue.anomaly()  # long ago
    heading, first, second = run("anomalies").splitlines()
    assert heading.startswith("first seen")
    assert ("search:gpt-4" in first, "15.2 s" in first, str(newer.pk) in first) == (True, True, True)
    assert heading.index("severity") == first.index("critical") == second.index("warning")
    shown = client.get("/api/v1/anomalies", headers=catalogue.bearer(catalogue.token("read")[1])).json()["anomalies"]
    assert rows_of("anomalies", "--json") == shown
    assert [row["id"] for row in rows_of("anomalies", "severity:warning", "--json")] == [str(older.pk)]
    assert len(rows_of("anomalies", "--since", "7300h", "--limit", "2", "--json")) == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["anomalies", "sevrity:warning"], "severity"),
        (["anomalies", "--since", "2 hours"], "90s, 30m, 2h"),
        (["anomalies", "--since", "0s"], "90s, 30m, 2h"),
        (["anomalies", "--limit", "0"], "from 1 to 10000"),
        (["tail", "--interval", "0"], "between 0.1 and 3600"),
        (["ack", "abc"], "UUID"),
        (["ack"], "--query"),
        (["ack", "--query", ""], "at least one term"),
        (["ack", "00000000-0000-0000-0000-000000000009"], "there is no anomaly or incident"),
        (["silence", "2h"], "FIELD=VALUE"),
        (["silence", "2h", "servce=x"], "service, model"),
        (["silence", "2h", "service=~("], "no regular expression"),
        (["silence", "2h", "service=x", "--project", "blue"], "there is no project blue; there are: default"),
        (["nonsense"], "status"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_allowed(argv, said):
    catalogue.project()
    with pytest.raises(CommandError, match=said):
        run(*argv)
    assert not Silence.objects.exists()


def test_anomalies_and_whole_incidents_are_acknowledged_for_a_while_and_by_name():
    first, alone = just_now(), just_now()
    second = just_now(incident=first.incident)
    said = run("ack", str(first.incident_id), str(alone.pk), "--for", "2h", "--note", "on it", "--as", "otto")
    assert said == "3 acknowledged\n"
    for anomaly in Anomaly.objects.filter(pk__in=[first.pk, second.pk, alone.pk]):
        assert (anomaly.status, anomaly.acknowledged_by_name, anomaly.note) == ("acknowledged", "otto", "on it")
        assert timedelta(minutes=119) < anomaly.acknowledged_until - timezone.now() <= timedelta(hours=2)
    assert Transition.objects.filter(actor_name="otto").count() == 3


def test_a_query_acknowledges_what_it_finds_after_a_dry_run():
    chosen, other = just_now(severity="warning"), just_now()
    assert rows_of("ack", "--query", "severity:warning", "--dry-run", "--json") == [{"count": 1}]
    assert Anomaly.objects.filter(status="open").count() == 2
    assert rows_of("ack", "--query", "severity:warning", "--json") == [{"acknowledged": 1}]
    assert Anomaly.objects.get(pk=chosen.pk).acknowledged_by_name.endswith("command line)")
    assert Anomaly.objects.get(pk=other.pk).status == "open"


def test_a_silence_is_made_of_conditions_and_a_length():
    run("silence", "1h30m", "service=chat-*", "labels.team!=search", "--comment", "deploy", "--as", "otto")
    silence = Silence.objects.get()
    assert silence.matchers == [
        {"field": "service", "op": "glob", "value": "chat-*"},
        {"field": "labels.team", "op": "not", "value": "search"},
    ]
    assert silence.ends_at - silence.starts_at == timedelta(minutes=90)
    assert (silence.author, silence.comment, silence.project) == ("otto", "deploy", None)
    assert LogEntry.objects.get_for_object(silence).get().additional_data["actor"] == "otto"


def test_status_tells_what_is_open_and_what_waits_and_its_exit_code_says_whether_it_is_well(monkeypatch):
    just_now()
    Channel.objects.create(name="pager", kind="webhook", failure_count=9)
    known = json.loads(run("status", "--json"))
    assert known["status"] == "healthy"
    assert known["incidents"] == {"critical": 1, "warning": 0, "info": 0}
    assert known["channels"]["failing"] == ["pager"]
    text = run("status")
    assert "1 critical" in text
    assert "failing: pager" in text
    parts = [{"name": "redis", "status": "unhealthy", "latency_ms": None, "error": "ConnectionError"}]
    for status, code in (("degraded", 3), ("unhealthy", 1)):
        monkeypatch.setattr("sentinel_site.health.examine", lambda *_, status=status: (status, parts))
        with pytest.raises(SystemExit) as ended:
            run("status")
        assert ended.value.code == code


def test_what_opens_changes_and_ends_is_told_once_and_in_order():
    begun = timezone.now()
    catalogue.anomaly(updated_at=begun - timedelta(seconds=5))
    follower = Follower(lambda _: Anomaly.objects.all(), begun)
    tick = iter(range(1, 100))

    def write(anomaly: Anomaly, **values: object) -> None:
        moment = begun + timedelta(seconds=next(tick))
        Anomaly.objects.filter(pk=anomaly.pk).update(updated_at=moment, **values)

    def news() -> list[str]:
        return [word for word, _ in follower.news(begun)]

    assert news() == []
    opened = catalogue.anomaly(severity="warning", updated_at=begun + timedelta(seconds=next(tick)))
    assert (news(), news()) == (["open"], [])
    write(opened, occurrences=9)
    assert news() == []
    write(opened, severity="critical")
    assert news() == ["escalated"]
    write(opened, status="acknowledged")
    assert news() == ["acknowledged"]
    write(opened, status="open")
    assert news() == ["reopened"]
    write(opened, state="ended")
    assert news() == ["ended"]
    lifecycle.resolve(Anomaly.objects.filter(pk=opened.pk), Operator("otto"), now=begun + timedelta(seconds=50))
    late = catalogue.anomaly(updated_at=begun + timedelta(seconds=25))  # of a transaction that took longer
    assert news() == ["open", "resolved"]
    assert late.updated_at < follower._reached


def test_tail_prints_until_it_is_interrupted_and_then_ends_without_a_word(monkeypatch):
    anomaly = just_now(catalogue.service("search"))

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    (line,) = run("tail", "service:search", "--since", "1m").splitlines()
    assert "open" in line
    assert "latency_ms of search:gpt-4" in line
    (row,) = rows_of("tail", "--since", "1m", "--json")
    assert (row["change"], row["id"]) == ("open", str(anomaly.pk))
    assert run("tail") == ""


def test_a_name_cannot_write_over_the_terminal():
    just_now(catalogue.service("\x1b[2Jchat\u202e\x07"))
    text = run("anomalies")
    assert all(each.isprintable() or each == "\n" for each in text)
    assert "\\u001b[2Jchat\\u202e\\u0007" in text
    assert printable("日本 é") == "日本 é"


def test_columns_stand_below_each_other_with_wide_and_combining_letters():
    lines = list(table(("a", "b"), [("日本", "x"), ("e\u0301", "y")]))
    assert lines == ["a     b", "日本  x", "e\u0301     y"]


def test_a_reader_that_has_seen_enough_ends_it_quietly():
    code = (
        "from sentinel_site.command_line.printing import Lines; import sys\n"
        "lines = Lines(sys.stdout)\nwhile not lines.is_closed: lines.write('x' * 1000)"
    )
    read, write = os.pipe()
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, cwd=PROJECT_ROOT)
    os.close(write)
    assert os.read(read, 10) == b"x" * 10
    os.close(read)
    assert writer.communicate(timeout=60)[1] == b""
    assert writer.returncode == 0
