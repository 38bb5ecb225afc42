"""What Alertmanager is sent, and that a real one understands it where there is one."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerting.channels.alertmanager import Alertmanager, label_name
from alerting.channels.base import Answer, NoticeType, Target
from tests.alerting.factories import NOW, anomaly_data, message, notice
from tests.alerting.receivers import Receiver, answer, receiver
from tests.support import services
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("loopback_allowed")

CONFIGURATION = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def send(
    url: str, secret: str = "", at: datetime = NOW, config: dict[str, Any] | None = None, **changes: Any
) -> Answer:
    target = Target("am", {"url": url, "timeout_secs": 2, **(config or {})}, secret)
    return Alertmanager().send(target, message(notice=notice(**changes)), at)


def sent(hook: Receiver) -> list[dict[str, Any]]:
    (request,) = hook.requests
    return list(json.loads(request.body))


def test_an_anomaly_fires_under_its_severity_and_under_no_other() -> None:
    at = NOW + timedelta(minutes=1)
    data = anomaly_data(labels={"team": "search", "a-b.c": "x"}, runbook_url="https://wiki.example/r")
    with receiver(answer(200)) as hook:
        send(f"http://127.0.0.1:{hook.port}/", at=at, anomalies=(data,))
    critical, warning, info = sent(hook)
    assert hook.requests[0].line == "POST /api/v2/alerts HTTP/1.1"
    assert critical["labels"] == {
        "alertname": "latency_spike",
        "severity": "critical",
        "service": "chat-api",
        "model": "gpt-4",
        "metric": "latency_ms",
        "source": "llm-sentinel",
        "label_team": "search",
        "label_a_b_c": "x",
    }
    assert critical["annotations"]["runbook_url"] == "https://wiki.example/r"
    assert (critical["startsAt"], critical["endsAt"]) == (
        "2026-03-01T12:00:00.000+00:00",
        "2026-03-02T12:01:00.000+00:00",
    )
    assert [a["endsAt"] for a in (warning, info)] == ["2026-03-01T12:01:00.000+00:00"] * 2


def test_an_end_ends_it_under_every_severity() -> None:
    with receiver(answer(200)) as hook:
        send(hook.url, type=NoticeType.RESOLVED, status="resolved")
    assert {a["endsAt"] for a in sent(hook)} == {"2026-03-01T12:00:00.000+00:00"}


def test_a_member_that_ended_meanwhile_does_not_fire() -> None:
    both = (anomaly_data(model="gone", status="resolved"), anomaly_data(model="here"))
    with receiver(answer(200)) as hook:
        send(hook.url, anomalies=both)
    firing = [a["labels"]["model"] for a in sent(hook) if a["endsAt"] > "2026-03-02"]
    assert firing == ["here"]


def test_an_address_that_is_none_does_not_cost_the_alert() -> None:
    with receiver(answer(200)) as hook:
        send(hook.url, anomalies=(anomaly_data(url="not an address"),))
    assert all("generatorURL" not in a for a in sent(hook))


@pytest.mark.parametrize(
    ("config", "secret", "header"),
    [({}, "", None), ({}, "abc", "Bearer abc"), ({"username": "me"}, "pass", "Basic bWU6cGFzcw==")],
)
def test_the_secret_is_a_token_or_with_a_user_a_password(
    config: dict[str, Any], secret: str, header: str | None
) -> None:
    with receiver(answer(200)) as hook:
        send(hook.url, secret, config=config)
    assert hook.requests[0].headers.get("authorization") == header


def test_names_of_labels_are_those_prometheus_allows_and_none_of_ours() -> None:
    assert label_name("severity") == "label_severity"
    assert label_name("a.b-c d\n") == "label_a_b_c_d_"


@pytest.mark.parametrize(
    ("config", "secret", "key"),
    [
        ({}, "", "url"),
        ({"url": "http://am?x=1"}, "", "url"),
        ({"url": "http://am", "username": "a:b"}, "", "username"),
        ({"url": "http://am"}, "a\r\nX: y", "secret"),
    ],
)
def test_settings_that_cannot_work_are_refused(config: dict[str, Any], secret: str, key: str) -> None:
    assert list(Alertmanager().problems(config, secret)) == [key]


@contextlib.contextmanager
def real_alertmanager(home: Path) -> Iterator[str]:
    """The URL of an Alertmanager while the block runs; skips where none is installed."""
    program = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
    if program is None:
        pytest.skip("no Alertmanager is installed (Debian: prometheus-alertmanager)")
    (home / "alertmanager.yml").write_text(CONFIGURATION)
    (port,) = services.free_ports(1)
    options = [
        f"--config.file={home / 'alertmanager.yml'}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (home / "log").open("wb") as log, subprocess.Popen([program, *options], stdout=log, stderr=log) as process:
        try:
            eventually(lambda: ready(f"http://127.0.0.1:{port}"), deadline=20)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def ready(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=1) as reply:
        return bool(reply.status == 200)
    return False


def active(url: str) -> list[tuple[str, str]]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as reply:
        found = json.load(reply)
    return [(a["labels"]["severity"], a["annotations"]["summary"]) for a in found]


def test_a_real_alertmanager_follows_an_alert_through_its_life(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    seen = {"title": "Spike", "first_seen": now, "last_seen": now, "labels": {"team x": "a\nb"}}
    with real_alertmanager(tmp_path) as url:
        send(url, at=now, anomalies=(anomaly_data(severity="warning", **seen),))
        assert active(url) == [("warning", "Spike")]
        worse = (anomaly_data(**seen),)
        send(url, at=datetime.now(UTC), anomalies=worse, type=NoticeType.ESCALATED)
        assert active(url) == [("critical", "Spike")]
        send(url, at=datetime.now(UTC), anomalies=worse, type=NoticeType.RESOLVED, status="resolved")
        assert active(url) == []
