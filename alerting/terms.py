"""What a rule asks of an anomaly before it takes it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from alerting.models import AlertRule
from alerting.rules.matching import parse_matchers
from alerting.rules.table import Terms
from anomalies.models import SEVERITY_RANK, Anomaly, Severity

A_DAY = 24 * 3600


def terms_of(rule: AlertRule) -> Terms:
    """A rule as the table of all rules takes it; `rule.project` must be loaded. Raises `MatcherError`."""
    least = SEVERITY_RANK[Severity(rule.min_severity)]
    severities = frozenset(severity.value for severity, rank in SEVERITY_RANK.items() if rank >= least)
    project = rule.project.name if rule.project else None
    return Terms(parse_matchers(rule.matchers), severities, project, rule.continue_matching)


def frequency_window(rule: AlertRule) -> timedelta:
    """In which `min_occurrences` episodes of a series must have begun."""
    return timedelta(seconds=rule.occurrences_within or A_DAY)


def is_frequent(rule: AlertRule, anomaly: Anomaly) -> bool:
    """Whether enough episodes of the series of `anomaly`, itself included, had begun when it began.

    A question about that moment: the answer stays the same however late it is asked.
    """
    if rule.min_occurrences <= 1:
        return True
    since = anomaly.first_seen - frequency_window(rule)
    same = Anomaly.objects.filter(
        service=anomaly.service_id,
        model=anomaly.model,
        metric=anomaly.metric,
        direction=anomaly.direction,
        first_seen__gt=since,
        first_seen__lte=anomaly.first_seen,
    )
    begun = same.order_by().values("pk")[: rule.min_occurrences].count()
    return begun >= rule.min_occurrences


def is_frequent_among(begun: Iterable[datetime], at: datetime, rule: AlertRule) -> bool:
    """The same of a series whose episodes began at `begun`, asked about the one that began at `at`."""
    since = at - frequency_window(rule)
    return sum(since < each <= at for each in begun) >= rule.min_occurrences
