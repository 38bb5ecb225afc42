"""Alert rules between their rows and the bodies of the API."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from django.db import transaction
from rest_framework import serializers

from alerting.models import AlertRule, Channel, EscalationStep, SeverityChannel
from baselines.api.owned import save_checked
from baselines.api.pages import Keyset

_SAME = (
    "id name enabled order matchers min_severity min_occurrences occurrences_within min_duration active_hours group_by "
    "group_wait group_interval repeat_interval created_at updated_at"
)
FIELDS = {name: name for name in _SAME.split()} | {"project": "project__name", "continue": "continue_matching"}
BY_ORDER = Keyset(("order", "id"))
OF_OTHER_ROWS = ("channels", "channels_by_severity", "escalation")


def fill(rule: AlertRule, values: dict[str, Any]) -> None:
    """Set the columns that a checked body names."""
    for name, value in values.items():
        if name not in OF_OTHER_ROWS:
            setattr(rule, "continue_matching" if name == "continue" else name, value)


def save_rule(rule: AlertRule, values: dict[str, Any]) -> None:
    """Save a rule with all that a checked body names, or nothing. Raises ValidationError by field."""
    fill(rule, values)
    _check_channels(rule, values)
    with transaction.atomic():
        save_checked(rule)
        if "channels" in values:
            rule.channels.set(values["channels"])
        if "channels_by_severity" in values:
            _set_by_severity(rule, values["channels_by_severity"])
        if "escalation" in values:
            _set_escalation(rule, values["escalation"])


def _check_channels(rule: AlertRule, values: dict[str, Any]) -> None:
    """A rule of a project names channels of that project and of all: others would never hear of it."""
    named = {
        "channels": values.get("channels", []),
        "channels_by_severity": [c for some in values.get("channels_by_severity", {}).values() for c in some],
        "escalation": [step["channel"] for step in values.get("escalation", [])],
    }
    errors = {field: wrong for field, channels in named.items() if (wrong := _foreign(rule, channels))}
    if errors:
        raise serializers.ValidationError(errors)


def _foreign(rule: AlertRule, channels: Iterable[Channel]) -> list[str]:
    if rule.project_id is None:
        return []
    others = [channel for channel in channels if channel.project_id not in (None, rule.project_id)]
    return [f"The channel {channel.pk} is of another project than the rule." for channel in others]


def _set_by_severity(rule: AlertRule, channels: dict[str, list[Channel]]) -> None:
    """Rows that are as they should be stay, so that the audit trail names what changed."""
    wanted = {(severity, channel.pk) for severity, some in channels.items() for channel in some}
    for row in rule.severity_channels.all():
        if (row.severity, row.channel_id) in wanted:
            wanted.discard((row.severity, row.channel_id))
        else:
            row.delete()
    for severity, channel in sorted(wanted):
        SeverityChannel.objects.create(rule=rule, severity=severity, channel_id=channel)


def _set_escalation(rule: AlertRule, steps: list[dict[str, Any]]) -> None:
    rows = {row.order: row for row in rule.escalation_steps.all()}
    for order, step in enumerate(steps, 1):
        row = rows.pop(order, None) or EscalationStep(rule=rule, order=order)
        if (row.channel_id, row.wait) != (step["channel"].pk, step["wait"]):
            row.channel, row.wait = step["channel"], step["wait"]
            row.save()
    for row in rows.values():
        row.delete()


def as_rows(rows: list[dict[str, Any]], principal: object) -> list[dict[str, Any]]:
    """Rows of rules with their channels and steps, as far as `principal` may see those: four queries."""
    ids = [row["id"] for row in rows]
    visible = set(Channel.objects.visible_to(principal).values_list("id", flat=True))
    channels, by_severity, steps = _channels_of(ids), _by_severity_of(ids), _steps_of(ids)
    return [
        row
        | {
            "channels": _seen(channels[row["id"]], visible),
            "channels_by_severity": {
                severity: seen for severity, some in by_severity[row["id"]].items() if (seen := _seen(some, visible))
            },
            "escalation": [step for step in steps[row["id"]] if step["channel"] in visible],
        }
        for row in rows
    ]


def _seen(channels: Iterable[int], visible: Collection[int]) -> list[int]:
    return [channel for channel in channels if channel in visible]


def _channels_of(rules: Collection[int]) -> defaultdict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    links = AlertRule.channels.through.objects.filter(alertrule__in=rules).order_by("channel_id")
    for rule, channel in links.values_list("alertrule_id", "channel_id"):
        found[rule].append(channel)
    return found


def _by_severity_of(rules: Collection[int]) -> defaultdict[int, dict[str, list[int]]]:
    found: defaultdict[int, dict[str, list[int]]] = defaultdict(dict)
    links = SeverityChannel.objects.filter(rule__in=rules).order_by("severity", "channel_id")
    for rule, severity, channel in links.values_list("rule_id", "severity", "channel_id"):
        found[rule].setdefault(severity, []).append(channel)
    return found


def _steps_of(rules: Collection[int]) -> defaultdict[int, list[dict[str, int]]]:
    found: defaultdict[int, list[dict[str, int]]] = defaultdict(list)
    steps = EscalationStep.objects.filter(rule__in=rules).order_by("order")
    for rule, channel, wait in steps.values_list("rule_id", "channel_id", "wait"):
        found[rule].append({"channel": channel, "wait": wait})
    return found
