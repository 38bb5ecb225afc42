"""Microsoft Teams: an Adaptive Card to a workflow that starts "when a Teams webhook request is received".

https://learn.microsoft.com/en-us/connectors/teams/#microsoft-teams-webhook,
https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from alerting.channels.base import (
    TIMEOUT,
    Answer,
    DeliveryFailed,
    Message,
    Notice,
    Setting,
    Target,
    seconds_problem,
    unknown_keys,
)
from alerting.channels.posting import post, url_problem
from alerting.channels.wording import links, mark
from alerting.rules.plain import plain

MAX_CARD_BYTES = 26_000
"""Teams refuses a message of more than 28 kB."""
COLOURS = {"critical": "Attention", "warning": "Warning", "info": "Accent"}


class Teams:
    """The secret is the workflow's URL, whose query carries its signature.

    All text is in text runs, in which Teams reads no Markdown: a model named `[free](https://…)` is no link.
    """

    name: ClassVar[str] = "teams"
    settings: ClassVar[tuple[Setting, ...]] = (TIMEOUT,)
    credential: ClassVar[str] = "The URL of the workflow, with the signature in its query."

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        found = unknown_keys(config, self.settings) | seconds_problem(config, "timeout_secs")
        problem = url_problem(secret, "https://….logic.azure.com/workflows/…")
        return found | ({"secret": problem} if problem else {})

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        problem = url_problem(target.secret, "https://…")
        if problem:
            raise DeliveryFailed(f"the workflow's URL {problem}", permanent=True)
        return post(target.secret, _within_limit(message), at, target.config, secret=target.secret)


def content(message: Message, max_text: int) -> dict[str, Any]:
    """The message with its card, which holds at most `max_text` characters of the notice's text."""
    notice = message.notice
    body = [_block(f"{mark(notice)} {notice.title}", id=message.id, weight="Bolder", color=_colour(notice))]
    body += [_block(line) for line in plain(notice.text, max_text).split("\n") if line]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in links(notice)],
        "msteams": {"width": "Full"},
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _block(text: str, *, id: str = "", **style: str) -> dict[str, Any]:
    block = {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}
    return block | ({"id": id} if id else {})


def _colour(notice: Notice) -> str:
    return "Good" if notice.is_resolved else COLOURS.get(notice.severity, "Default")


def _within_limit(message: Message) -> bytes:
    size = 4000
    encoded = msgspec.json.encode(content(message, size))
    while len(encoded) > MAX_CARD_BYTES and size > 100:
        size //= 2
        encoded = msgspec.json.encode(content(message, size))
    return encoded
