"""What Slack is sent and how its answers are taken; https://docs.slack.dev/reference/methods/chat.postMessage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alerting.channels.base import Answer, DeliveryFailed, NoticeType, Target
from alerting.channels.slack import Slack
from tests.alerting.factories import NOW, anomaly_data, message, notice
from tests.alerting.receivers import Receiver, Request, answer, receiver

pytestmark = pytest.mark.usefixtures("loopback_allowed")

TOKEN = "xoxb-1234-5678-abcdefghijkl"
OK = b'{"ok":true,"channel":"C1","ts":"1700000000.000100"}'


def post(hook: Receiver, **changes: Any) -> Answer:
    """To an incoming webhook."""
    return Slack().send(Target("slack", {"timeout_secs": 2}, hook.url), message(notice=notice(**changes)), NOW)


def call(hook: Receiver, **changes: Any) -> Answer:
    """To the API, with a bot's token."""
    api = f"http://127.0.0.1:{hook.port}/api/"
    target = Target("slack", {"channel": "C1", "api_url": api, "timeout_secs": 2}, TOKEN)
    return Slack().send(target, message(notice=notice(**changes)), NOW)


def sent(hook: Receiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in hook.requests]


def texts(body: dict[str, Any]) -> list[str]:
    return [element["text"] for element in body["blocks"][0]["elements"][0]["elements"]]


def test_a_message_has_a_title_a_text_and_links() -> None:
    with receiver(answer(200, b"ok")) as hook:
        assert post(hook, runbook_url="https://wiki.example/r").text == "ok"
    (body,) = sent(hook)
    title, text, *rest = body["blocks"][0]["elements"][0]["elements"]
    assert title == {"type": "text", "text": "🔴 Latency spike in chat-api (gpt-4)", "style": {"bold": True}}
    assert text["text"].startswith("\nAnswers took 15.2 s")
    assert [(e["text"], e["url"]) for e in rest if e["type"] == "link"] == [
        ("Open", "https://sentinel.example/admin/anomalies/anomaly/1/change/"),
        ("Runbook", "https://wiki.example/r"),
    ]
    assert body["text"] == "🔴 Latency spike in chat-api (gpt-4)"


def test_names_call_nobody_and_link_nowhere() -> None:
    name = "<!channel> <@U1> <https://evil.example|login> *b* & `c`"
    with receiver(answer(200, b"ok")) as hook:
        post(hook, title=name, text=name)
    (body,) = sent(hook)
    assert body["text"] == "🔴 &lt;!channel&gt; &lt;@U1&gt; &lt;https://evil.example|login&gt; *b* &amp; `c`"
    assert body["mrkdwn"] is False
    elements = body["blocks"][0]["elements"][0]["elements"]
    assert body["blocks"][0]["type"] == "rich_text"
    assert [e["type"] for e in elements[:2]] == ["text", "text"]
    assert texts(body)[1] == "\n" + name


def test_no_text_exceeds_what_slack_takes() -> None:
    with receiver(answer(200, b"ok")) as hook:
        post(hook, title="<" * 200, text="t" * 4000)
    (body,) = sent(hook)
    assert len(body["text"]) < 3000
    assert all(len(text) < 3000 for text in texts(body))


def test_a_bots_token_posts_to_the_channel_and_remembers_the_thread() -> None:
    with receiver(answer(200, OK)) as hook:
        assert call(hook).thread == "1700000000.000100"
    (request,) = hook.requests
    assert request.line == "POST /api/chat.postMessage HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    (body,) = sent(hook)
    assert body["channel"] == "C1"
    assert "thread_ts" not in body


def test_the_end_follows_its_beginning_in_the_thread_and_is_shown_to_all() -> None:
    with receiver(answer(200, OK.replace(b"000100", b"000200"))) as hook:
        said = call(hook, type=NoticeType.RESOLVED, status="resolved", thread="1700000000.000100")
    (body,) = sent(hook)
    assert (body["thread_ts"], body["reply_broadcast"]) == ("1700000000.000100", True)
    assert said.thread == "1700000000.000100"


def test_a_thread_that_somebody_deleted_is_begun_anew() -> None:
    def script(request: Request) -> list[bytes]:
        gone = b"thread_ts" in request.body
        return [answer(200, b'{"ok":false,"error":"thread_not_found"}' if gone else OK)]

    with receiver(script) as hook:
        assert call(hook, thread="1600000000.000100").thread == "1700000000.000100"
    assert ["thread_ts" in body for body in sent(hook)] == [True, False]


@pytest.mark.parametrize(
    ("said", "permanent", "gone"),
    [
        (b'{"ok":false,"error":"channel_not_found"}', True, False),
        (b'{"ok":false,"error":"invalid_auth"}', True, False),
        (b'{"ok":false,"error":"is_archived"}', True, True),
        (b'{"ok":false,"error":"token_revoked"}', True, True),
        (b'{"ok":false,"error":"ratelimited"}', False, False),
        (b'{"ok":false,"error":"internal_error"}', False, False),
        (b"<html>please log in</html>", False, False),
        (b'["ok"]', False, False),
        (b"", False, False),
    ],
)
def test_an_answer_that_is_not_ok_is_a_failure_whatever_its_status(said: bytes, permanent: bool, gone: bool) -> None:
    with receiver(answer(200, said)) as hook, pytest.raises(DeliveryFailed) as caught:
        call(hook)
    assert (caught.value.permanent, caught.value.gone) == (permanent, gone)


def test_an_archived_channel_of_a_webhook_ends_it() -> None:
    with receiver(answer(410, b"channel_is_archived")) as hook, pytest.raises(DeliveryFailed) as caught:
        post(hook)
    assert caught.value.gone


def test_the_time_slack_asks_for_is_passed_on() -> None:
    with receiver(answer(429, b"rate_limited", retry_after="30")) as hook, pytest.raises(DeliveryFailed) as caught:
        call(hook)
    assert (caught.value.retry_after, caught.value.permanent) == (30.0, False)


def test_an_echo_of_the_token_or_of_the_webhooks_path_is_hidden() -> None:
    with receiver(lambda request: [answer(500, request.line.encode() + TOKEN.encode())]) as hook:
        with pytest.raises(DeliveryFailed) as caught:
            post(hook)
        assert "/hook" not in caught.value.answer
        with pytest.raises(DeliveryFailed) as caught:
            call(hook)
        assert TOKEN not in caught.value.answer


def test_an_answer_that_cannot_be_read_brings_no_secret_into_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    with receiver(b"HTTP/1.1 200 OK\r\n no name of a header\r\nX: y\r\n\r\n") as hook:
        post(hook)
    assert len(hook.requests) == 1
    assert "/hook" not in caplog.text


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://x/|y>", "https://" + "x" * 3001])
def test_an_address_that_slack_would_refuse_is_left_out(address: str) -> None:
    data = anomaly_data(runbook_url=address)
    with receiver(answer(200, b"ok")) as hook:
        post(hook, anomalies=(data,), runbook_url=address)
    assert "Runbook" not in texts(sent(hook)[0])


@pytest.mark.parametrize(
    ("config", "secret", "key", "words"),
    [
        ({}, "", "secret", "or a bot's token"),
        ({}, "ftp://x", "secret", "https://"),
        ({}, "https://user:pw@x/", "secret", "password"),
        ({}, TOKEN, "channel", "required with a bot's token"),
        ({"channel": "a b"}, TOKEN, "channel", "one channel"),
        ({"channel": "<!here>"}, TOKEN, "channel", "one channel"),
        ({"channel": "C1"}, TOKEN + "\r\nX: y", "secret", "one line"),
        ({"channel": "C1", "api_url": "slack.com"}, TOKEN, "api_url", "https://"),
    ],
)
def test_settings_that_cannot_work_are_refused(config: dict[str, Any], secret: str, key: str, words: str) -> None:
    assert words in Slack().problems(config, secret)[key]
