"""Slack: an incoming webhook, or a bot's token and `chat.postMessage`, which keeps a group of anomalies in one thread.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
https://docs.slack.dev/reference/methods/chat.postMessage
"""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from alerting.channels.base import (
    TIMEOUT,
    Answer,
    DeliveryFailed,
    Message,
    Notice,
    NoticeType,
    Setting,
    Target,
    seconds_problem,
    unknown_keys,
)
from alerting.channels.posting import as_object, credential_problem, hide, post, url_problem
from alerting.channels.wording import links, mark
from alerting.rules.plain import plain

API = "https://slack.com/api/"
TOKEN = re.compile(r"xox[a-z]-|xoxe\.")
CHANNEL = re.compile(r"[^\s,<>@&]{1,80}")
TIMESTAMP = re.compile(r"[0-9]{1,12}\.[0-9]{1,9}")
MAX_TEXT = 2900
"""Slack takes 3000 characters in one text, and counts some twice."""
RETRIED = {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
GONE = {"is_archived", "account_inactive", "token_revoked"}
SHOWN_TO_ALL = {NoticeType.ESCALATED, NoticeType.REPEATED, NoticeType.RESOLVED}


class Slack:
    """The secret decides: the URL of an incoming webhook, or a bot's token (`xoxb-…`) together with `channel`.

    Everything is set as rich text, in which Slack reads no mark-up: a service named `<!channel>` calls nobody.
    """

    name: ClassVar[str] = "slack"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("channel", "With a bot's token: the channel to post to, by id (C0123ABCD) or name."),
        Setting("api_url", f"With a bot's token: where the API is; {API} if empty."),
        TIMEOUT,
    )
    credential: ClassVar[str] = "The URL of an incoming webhook, or a bot's token (xoxb-…) with the scope chat:write."

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        found = unknown_keys(config, self.settings) | seconds_problem(config, "timeout_secs")
        if not TOKEN.match(secret):
            problem = url_problem(secret, "https://hooks.slack.com/services/…")
            return found | ({"secret": problem + "; or a bot's token (xoxb-…)"} if problem else {})
        if credential_problem(secret):
            found["secret"] = credential_problem(secret)
        if not CHANNEL.fullmatch(str(config.get("channel", ""))):
            found["channel"] = "is required with a bot's token: one channel, as in C0123ABCD or #alerts"
        problem = url_problem(config.get("api_url", API), API)
        return found | ({"api_url": problem} if problem else {})

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        problems = self.problems(target.config, target.secret)
        if problems:
            raise DeliveryFailed("; ".join(f"{key} {text}" for key, text in problems.items()), permanent=True)
        if TOKEN.match(target.secret):
            return _call(target, message, at)
        body = msgspec.json.encode(content(message))
        return post(target.secret, body, at, target.config, secret=target.secret)


def content(message: Message) -> dict[str, Any]:
    """What is shown, and the text of the notification; the delivery's id is the id of the block."""
    notice = message.notice
    heading = f"{mark(notice)} {notice.title}"
    elements: list[dict[str, Any]] = [{"type": "text", "text": heading, "style": {"bold": True}}]
    text = plain(notice.text, MAX_TEXT)
    if text:
        elements.append({"type": "text", "text": f"\n{text}"})
    for number, (label, url) in enumerate(links(notice)):
        elements.append({"type": "text", "text": "  ·  " if number else "\n"})
        elements.append({"type": "link", "url": url, "text": label})
    section = {"type": "rich_text_section", "elements": elements}
    return {
        "text": escaped(heading),
        "mrkdwn": False,
        "blocks": [{"type": "rich_text", "block_id": message.id, "elements": [section]}],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escaped(text: str) -> str:
    """Text in which Slack finds no mention and no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _call(target: Target, message: Message, at: datetime) -> Answer:
    notice = message.notice
    call = content(message) | {"channel": target.config["channel"], "parse": "none"}
    if TIMESTAMP.fullmatch(notice.thread):
        call |= {"thread_ts": notice.thread, "reply_broadcast": notice.type in SHOWN_TO_ALL}
    answer = post(
        target.config.get("api_url", API).rstrip("/") + "/chat.postMessage",
        msgspec.json.encode(call),
        at,
        target.config,
        headers={"Authorization": f"Bearer {target.secret}", "Content-Type": "application/json; charset=utf-8"},
        secret=target.secret,
    )
    said = as_object(answer.text)
    error = str(said.get("error", "no answer of the API"))
    if error == "thread_not_found" and notice.thread:
        return _call(target, dataclasses.replace(message, notice=dataclasses.replace(notice, thread="")), at)
    if said.get("ok") is not True:
        raise DeliveryFailed(
            f"Slack answered {hide(target.secret, error)[:100]}",
            permanent="error" in said and error not in RETRIED,
            status_code=answer.status_code,
            answer=answer.text,
            gone=error in GONE,
        )
    return dataclasses.replace(answer, thread=_thread(notice, said))


def _thread(notice: Notice, said: dict[str, Any]) -> str:
    stamp = str(said.get("ts", ""))
    return notice.thread or (stamp if TIMESTAMP.fullmatch(stamp) else "")
