"""Which members of groups may not be told for now: silences, inhibition, maintenance, hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from alerting.facts import facts_of, providers_of
from alerting.models import Alert, AlertGroup, GroupMember
from alerting.quiet import Hold, Quiet, audience_of, hours_of

RECHECK = timedelta(seconds=30)
"""What holds without an end in sight is asked again after so long."""


def holds_of(
    members: Sequence[GroupMember], groups: Mapping[UUID, AlertGroup], quiet: Quiet, now: datetime
) -> dict[int, tuple[str, datetime]]:
    """Why a member is not told, and when to ask again (after `now`), by primary key; absent = free."""
    providers = providers_of(member.anomaly for member in members)
    found: dict[int, tuple[str, datetime]] = {}
    for member in members:
        rule = groups[member.group_id].rule
        event = Alert.Type.OPENED if member.is_firing else Alert.Type.RESOLVED
        facts = facts_of(member.anomaly, member.severity, event, providers)
        hold = quiet.hold_of(facts, now, hours_of(rule), audience_of(rule))
        if hold is not None:
            found[member.pk] = (hold.reason, _ask_again(hold, now))
    return found


def _ask_again(hold: Hold, now: datetime) -> datetime:
    return hold.until if hold.until is not None and hold.until > now else now + RECHECK
