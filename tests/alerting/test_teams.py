"""What a Teams workflow is sent: a message with one Adaptive Card."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alerting.channels.base import Answer, DeliveryFailed, NoticeType, Target
from alerting.channels.teams import Teams
from tests.alerting.factories import NOW, message, notice
from tests.alerting.receivers import Receiver, answer, receiver

pytestmark = pytest.mark.usefixtures("loopback_allowed")


def send(hook: Receiver, **changes: Any) -> Answer:
    secret = hook.url + "?sig=abcdef0123456789"
    return Teams().send(Target("teams", {"timeout_secs": 2}, secret), message(notice=notice(**changes)), NOW)


def card(hook: Receiver) -> dict[str, Any]:
    (request,) = hook.requests
    body = json.loads(request.body)
    (attachment,) = body["attachments"]
    assert (body["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    return dict(attachment["content"])


def test_a_card_has_a_title_lines_and_buttons() -> None:
    with receiver(answer(202)) as hook:
        assert send(hook, text="one\n\ntwo", acknowledge_url="https://sentinel.example/a").status_code == 202
    found = card(hook)
    assert (found["type"], found["version"]) == ("AdaptiveCard", "1.4")
    assert [block["inlines"][0]["text"] for block in found["body"]] == [
        "🔴 Latency spike in chat-api (gpt-4)",
        "one",
        "two",
    ]
    assert found["body"][0]["inlines"][0]["color"] == "Attention"
    assert [(a["type"], a["title"]) for a in found["actions"]] == [
        ("Action.OpenUrl", "Open"),
        ("Action.OpenUrl", "Acknowledge"),
    ]


def test_names_are_in_text_runs_which_know_no_markdown() -> None:
    name = "[free](https://evil.example) **b** <at>all</at>"
    with receiver(answer(202)) as hook:
        send(hook, title=name, text=name)
    body = card(hook)["body"]
    assert {block["type"] for block in body} == {"RichTextBlock"}
    assert {run["type"] for block in body for run in block["inlines"]} == {"TextRun"}
    assert body[1]["inlines"][0]["text"] == name


def test_an_end_is_green() -> None:
    with receiver(answer(202)) as hook:
        send(hook, type=NoticeType.RESOLVED, status="resolved")
    assert card(hook)["body"][0]["inlines"][0]["color"] == "Good"


@pytest.mark.parametrize("text", ["é" * 4000, "a\n" * 2000, "\N{FIRE}" * 4000])
def test_no_card_exceeds_what_teams_takes(text: str) -> None:
    with receiver(answer(202)) as hook:
        send(hook, text=text)
    assert len(hook.requests[0].body) <= 28_000


def test_an_echo_of_the_workflows_signature_is_hidden() -> None:
    with (
        receiver(lambda request: [answer(400, request.line.encode())]) as hook,
        pytest.raises(DeliveryFailed) as caught,
    ):
        send(hook)
    assert "sig=" not in caught.value.answer


@pytest.mark.parametrize("secret", ["", "workflow", "https://u:p@x/", "https://x/\r\nHost: y"])
def test_a_secret_that_is_no_address_is_refused(secret: str) -> None:
    assert list(Teams().problems({}, secret)) == ["secret"]
    with pytest.raises(DeliveryFailed) as caught:
        Teams().send(Target("teams", {}, secret), message(), NOW)
    assert caught.value.permanent
