"""How patient a rule is: from a rule's row, or from the configuration for the built-in one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings

from alerting.models import AlertRule, EscalationStep
from alerting.models.rules import DEFAULT_GROUP_BY
from alerting.rules.grouping import Pace


def pace_of(rule: AlertRule | None, steps: Sequence[EscalationStep] = ()) -> Pace:
    """The waits of a rule with its escalation's steps in order; None is the built-in rule."""
    alerting = settings.SENTINEL.alerting
    grouping = alerting.grouping
    if rule is None:
        waits = (grouping.wait_secs, grouping.interval_secs, grouping.repeat_secs)
    else:
        waits = (rule.group_wait, rule.group_interval, rule.repeat_interval)
    wait, interval, repeat = (timedelta(seconds=seconds) for seconds in waits)
    return Pace(wait, interval, repeat, tuple(timedelta(seconds=s.wait) for s in steps), alerting.batch.max_size)


def group_by_of(rule: AlertRule | None) -> tuple[str, ...]:
    """The facts in which alerts agree that a rule tells together."""
    return DEFAULT_GROUP_BY if rule is None else tuple(rule.group_by)
