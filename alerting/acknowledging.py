"""Acknowledging from a message: a signed link that expires, and what it opens.

Whoever holds the link may acknowledge what its message was about, and nothing else. It only leads to a page: mail
scanners and chats fetch every link they see, so the deed takes a POST.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db.models import Q
from django.urls import reverse

from alerting.models import AlertGroup, Channel
from anomalies.lifecycle import acknowledge
from anomalies.models import Anomaly, Status

SALT = "alerting.acknowledge"
VALID_FOR = timedelta(hours=24)
"""Each repetition brings a new link."""
OFFERED_BY = {Channel.Kind.SLACK, Channel.Kind.EMAIL, Channel.Kind.TEAMS}
"""Kinds that people read. PagerDuty acknowledges in its own way, and programs use the API."""
MAX_NAME = 100
MAX_NOTE = 500


class LinkUnknown(Exception):
    """It was never signed here, or what it was about exists no more."""


class LinkExpired(Exception):
    """It was good once; a newer message has a newer link."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a link opens: the group it is about, for whoever reads the channel."""

    group: AlertGroup
    channel: Channel

    @property
    def name(self) -> str:
        """Under which the record has what is done with it."""
        return f"channel {self.channel.name}"


def link(channel: Channel, group_id: UUID, now: datetime) -> str:
    """The address to put into a message of this channel about the group; "" for kinds that offer none."""
    if channel.kind not in OFFERED_BY:
        return ""
    content = {"g": group_id.hex, "c": channel.pk, "e": int((now + VALID_FOR).timestamp())}
    path = reverse("acknowledge-alert", args=[signing.dumps(content, salt=SALT)])
    return str(settings.SENTINEL.api.public_url).rstrip("/") + path


def opened(token: str, now: datetime) -> Ticket:
    """What the token of a link opens. Raises `LinkUnknown` or `LinkExpired`."""
    try:
        content = signing.loads(token, salt=SALT)
        group_id, channel_id, end = UUID(content["g"]), int(content["c"]), float(content["e"])
    except (signing.BadSignature, ValueError, KeyError, TypeError):
        raise LinkUnknown from None
    if now > datetime.fromtimestamp(end, UTC):
        raise LinkExpired
    group = AlertGroup.objects.filter(pk=group_id).first()
    channel = Channel.objects.filter(pk=channel_id, enabled=True).first()
    if group is None or channel is None:
        raise LinkUnknown
    return Ticket(group, channel)


def firing(ticket: Ticket) -> list[Anomaly]:
    """What of the group still fires, oldest first: what there is to acknowledge, and what somebody sees to already."""
    found = Anomaly.objects.filter(memberships__group=ticket.group, memberships__is_firing=True)
    return list(found.exclude(status=Status.RESOLVED).select_related("service").order_by("first_seen", "pk"))


def acknowledge_by(ticket: Ticket, anomalies: Iterable[UUID], name: str, note: str, now: datetime) -> int:
    """Acknowledge those of `anomalies` that are open and in the group; how many changed.

    Recorded as the channel's doing, with the name that the person gave in the note: a name that nobody checked.
    """
    who, said = " ".join(name.split())[:MAX_NAME], note.strip()[:MAX_NOTE]
    noted = ": ".join(part for part in (who, said) if part)
    mine = Q(memberships__group=ticket.group, memberships__is_firing=True)
    chosen = Anomaly.objects.filter(mine, pk__in=list(anomalies), status=Status.OPEN)
    return acknowledge(Anomaly.objects.filter(pk__in=list(chosen.values_list("pk", flat=True))), ticket, noted, now=now)
