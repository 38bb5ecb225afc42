"""What a notice says: the title and text of a channel's own templates, or the built-in ones.

The built-in words are for somebody who reads them on a phone at three in the morning: what and where first, since
when, then the story. No mark-up: each channel sets the text as text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import structlog

from alerting.channels.base import Notice, NoticeType
from alerting.rules.payload import AnomalyData
from alerting.rules.plain import one_line, plain
from alerting.rules.templates import TemplateProblem, render

log = structlog.get_logger(__name__)

MAX_TITLE = 200
MAX_TEXT = 4000
LISTED = 10
"""Anomalies of a group that the built-in text names; a phone shows no more."""
NAMES = 3
MAX_URL = 2000
UNFIT_FOR_URL = re.compile(r'[^\x21-\x7e]|[<>"|]')
MARKS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}


def worded(notice: Notice, title_template: str = "", body_template: str = "") -> Notice:
    """The notice with its title and text, from the templates where they are not blank.

    A template that fails (a label that only some services have) costs nobody an alert: the built-in words take its
    place, and the text says so.
    """
    title, text = built_in_title(notice), built_in_text(notice)
    try:
        title = render(title_template, context(notice)) if title_template.strip() else title
        text = render(body_template, context(notice)) if body_template.strip() else text
    except TemplateProblem as problem:
        log.warning("channel_template_failed", group=notice.group_id, problem=str(problem))
        text = f"{text}\n\n(The channel's template failed: {problem})"
    return dataclasses.replace(notice, title=one_line(title, MAX_TITLE), text=plain(text, MAX_TEXT))


def built_in_title(notice: Notice) -> str:
    """As in `Critical: Latency spike in chat-api (gpt-4)` or `Resolved (12 min): 5 anomalies in chat-api, rag-api`."""
    return f"{_state(notice)}: {_what(notice)}"


def built_in_text(notice: Notice) -> str:
    """The story of one anomaly, or one line for each of several, newest last."""
    if notice.count == 1 and len(notice.anomalies) == 1:
        (anomaly,) = notice.anomalies
        return "\n".join(line for line in (anomaly.description, _since(anomaly)) if line)
    lines = [_line(anomaly, is_end=notice.is_resolved) for anomaly in notice.anomalies[:LISTED]]
    missing = notice.count - len(lines)
    return "\n".join([*lines, f"and {missing} more"] if missing > 0 else lines)


def _line(anomaly: AnomalyData, *, is_end: bool) -> str:
    """One of several. Where some of them go on, it says of the others that they are over."""
    state = "over:" if anomaly.status == "resolved" and not is_end else anomaly.severity
    return f"• {state} {anomaly.title}, since {clock(anomaly.first_seen)}"


def context(notice: Notice) -> dict[str, object]:
    """What templates may name; documented for users in docs/channels.md."""
    return {
        "type": str(notice.type),
        "status": notice.status,
        "severity": notice.severity,
        "title": built_in_title(notice),
        "text": built_in_text(notice),
        "count": notice.count,
        "url": notice.url,
        "runbook_url": notice.runbook_url,
        "acknowledge_url": notice.acknowledge_url,
        "anomalies": [_fields(anomaly) for anomaly in notice.anomalies],
        "anomaly": _fields(notice.anomalies[0]) if notice.anomalies else {},
    }


def mark(notice: Notice) -> str:
    """One sign that is seen before anything is read."""
    if notice.type == NoticeType.TEST:
        return "🔔"
    return "✅" if notice.is_resolved else MARKS.get(notice.severity, "🔵")


def links(notice: Notice) -> list[tuple[str, str]]:
    """Label and address of where to go from here. An address that is none (labels hold anything) is left out."""
    found = [("Open", notice.url), ("Runbook", notice.runbook_url)]
    if not notice.is_resolved:
        found.append(("Acknowledge", notice.acknowledge_url))
    return [(label, url) for label, url in found if is_web_address(url)]


def is_web_address(url: str) -> bool:
    """Whether receivers take it for a link; one bad link makes some refuse the whole message."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    good = parts.scheme in ("http", "https") and bool(parts.hostname)
    return good and len(url) <= MAX_URL and not UNFIT_FOR_URL.search(url)


def clock(moment: datetime) -> str:
    """As in `Mar 1 12:00 UTC`."""
    return f"{moment.astimezone(UTC):%b %-d %H:%M} UTC"


def lasted(span: timedelta) -> str:
    """The two largest units, as in `4 h 20 min`; less than a minute in seconds."""
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 60:
        return f"{seconds} s"
    days, rest = divmod(seconds // 60, 24 * 60)
    parts = ((days, "d"), (rest // 60, "h"), (rest % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)[:32]


def _state(notice: Notice) -> str:
    severity = notice.severity.capitalize()
    match notice.type:
        case NoticeType.TEST:
            return "Test"
        case NoticeType.RESOLVED:
            return f"Resolved ({lasted(_span(notice.anomalies))})" if notice.anomalies else "Resolved"
        case NoticeType.ESCALATED:
            return f"Now {notice.severity}"
        case NoticeType.REPEATED:
            return f"Still {notice.severity} ({lasted(_span(notice.anomalies))})"
        case _:
            return severity


def _what(notice: Notice) -> str:
    if notice.count == 1 and len(notice.anomalies) == 1:
        return notice.anomalies[0].title
    services = sorted({anomaly.service for anomaly in notice.anomalies})
    named = ", ".join(services[:NAMES]) + (f" and {len(services) - NAMES} more" if len(services) > NAMES else "")
    return f"{notice.count} anomalies in {named}" if services else f"{notice.count} anomalies"


def _span(anomalies: Iterable[AnomalyData]) -> timedelta:
    seen = list(anomalies)
    return max(a.last_seen for a in seen) - min(a.first_seen for a in seen)


def _since(anomaly: AnomalyData) -> str:
    if anomaly.occurrences <= 0:
        return ""
    times = f", {anomaly.occurrences} times" if anomaly.occurrences > 1 else ""
    return f"Since {clock(anomaly.first_seen)}{times}."


def _fields(anomaly: AnomalyData) -> dict[str, object]:
    return {name: getattr(anomaly, name) for name in AnomalyData.__struct_fields__}
