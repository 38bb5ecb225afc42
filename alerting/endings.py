"""Silences that are about to end are announced where people will hear from what they hold back."""

from __future__ import annotations

import uuid
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime, timedelta

import structlog
from django.db.models import Q

from alerting import health
from alerting.channels.base import NoticeType
from alerting.config_channels import sync_config_channels
from alerting.messages import own_message
from alerting.models import AlertRule, Channel, Silence
from alerting.quiet import lull_of, ongoing
from alerting.rules.holds import Ongoing

log = structlog.get_logger(__name__)

AHEAD = timedelta(minutes=15)
"""So long before its end a silence is announced; a short one when three quarters of it are over."""
EVENT = "silence.ending"
PAGING = (Channel.Kind.PAGERDUTY, Channel.Kind.ALERTMANAGER)
"""Kinds on which everything is an incident that somebody has to close."""
TITLES_SHOWN = 10


def announce_endings(now: datetime) -> int:
    """Announce each silence that is about to end while it holds something back; how many were told to somebody.

    Each until some channel takes it, once. One that holds nothing back is announced to nobody, unless something begins
    before it ends.
    """
    soon = Silence.objects.current(now).filter(announced_at=None, ends_at__lte=now + AHEAD).select_related("project")
    due = [silence for silence in soon if is_due(silence, now)]
    going_on = ongoing() if due else []
    return sum(_announce(silence, going_on, now) for silence in due)


def is_due(silence: Silence, now: datetime) -> bool:
    """Whether its end is near enough."""
    return silence.ends_at - now <= min(AHEAD, (silence.ends_at - silence.starts_at) / 4)


def _announce(silence: Silence, going_on: Iterable[Ongoing], now: datetime) -> bool:
    lull = lull_of(silence)
    if lull is None or lull.end(now) is None:
        return False
    held = [one for one in going_on if lull.covers(one.facts)]
    # Of several workers the first to say that it was announced announces it.
    mine = Silence.objects.filter(pk=silence.pk, announced_at=None)
    if not held or not mine.update(announced_at=now):
        return False
    told = [_tell(channel, silence, _known_to(channel, held), now) for channel in _channels(held)]
    if any(told):
        return True
    if told:  # nobody took it: it is tried again in a minute, as long as the silence lasts
        Silence.objects.filter(pk=silence.pk, announced_at=now).update(announced_at=None)
    log.warning("silence_ending_unheard", silence=silence.pk, ends_at=silence.ends_at.isoformat())
    return False


def _known_to(channel: Channel, held: Iterable[Ongoing]) -> list[Ongoing]:
    """A channel of a project hears of that project only."""
    project = channel.project.name if channel.project else None
    return [one for one in held if project in (None, one.facts["project"])]


def _tell(channel: Channel, silence: Silence, held: Sequence[Ongoing], now: datetime) -> bool:
    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"silence/{silence.pk}/{silence.ends_at.isoformat()}")
    title = f"A {silence.kind} by {silence.author or 'somebody'} ends at {silence.ends_at:%H:%M} UTC"
    message = own_message(
        channel, identity, EVENT, NoticeType.OPENED, title, _text(silence, held), silence.starts_at, now
    )
    return health.send(channel, message, now)


def _text(silence: Silence, held: Sequence[Ongoing]) -> str:
    series = sorted({f"{one.facts['type']} in {one.facts['service']} ({one.facts['model']})" for one in held})
    more = f" and {len(series) - TITLES_SHOWN} more" if series[TITLES_SHOWN:] else ""
    shown = ", ".join(series[:TITLES_SHOWN]) + more
    why = f" It was made because: {silence.comment}." if silence.comment else ""
    return f"It holds back what will be told then if it still lasts: {shown}.{why}"


def _channels(held: Iterable[Ongoing]) -> list[Channel]:
    """The channels of the rules that took what is held, each once: by severity where a rule says so."""
    severities: dict[Hashable, set[str]] = {}
    for one in held:
        for audience in one.audiences:
            severities.setdefault(audience, set()).add(one.facts["severity"])
    chosen: set[int] = set()
    rules = AlertRule.objects.filter(pk__in=[rule for rule in severities if rule is not None], enabled=True)
    for rule in rules.prefetch_related("channels", "severity_channels"):
        for severity in severities[rule.pk]:
            chosen |= _of_severity(rule, severity)
    if None in severities:
        chosen |= {channel.pk for channel in sync_config_channels()}
    projects = {one.facts["project"] for one in held}
    fitting = Channel.objects.filter(Q(project=None) | Q(project__name__in=projects), pk__in=chosen, enabled=True)
    return list(fitting.exclude(kind__in=PAGING).select_related("project").order_by("pk"))


def _of_severity(rule: AlertRule, severity: str) -> set[int]:
    special = {row.channel_id for row in rule.severity_channels.all() if row.severity == severity}
    return special or {channel.pk for channel in rule.channels.all()}
