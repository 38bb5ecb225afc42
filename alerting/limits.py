"""Thresholds over the minutes that were recorded: a breach becomes an anomaly, its incident and its alert."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet

from alerting.models import Threshold
from alerting.models.limits import name_matcher
from alerting.rules.limits import Breach, Limit, Sums, follow, judged_until, points_until
from alerting.watching import announce, claimed, end_unwatched, episode
from anomalies.detection.verdicts import EPISODE_NAMESPACE, Episode
from anomalies.models import THRESHOLD, Anomaly, State
from anomalies.record import moment
from baselines.models import ServedModel, Service, TelemetryMinute
from baselines.stats.series import Pair, SeriesKey
from baselines.stats.sketch import SKETCHED, decode

log = structlog.get_logger(__name__)

TOPIC_ID = uuid5(EPISODE_NAMESPACE, "thresholds")
MINUTE_MS = 60_000
SAID = ("aggregation", "window", "operator", "value", "breaches", "out_of")
"""What an anomaly keeps of the limit it is beyond."""
_SUMS = ("service", "model", "minute", "count", "errors", "cost_usd", "total_tokens")


class Course(NamedTuple):
    """Of a threshold: one series and the direction in which it can depart."""

    key: SeriesKey
    direction: str


def watch_thresholds(now: datetime) -> int:
    """Look at all thresholds once; returns how many breaches began, got worse or ended.

    It may run at the same time as often as one likes: a threshold that somebody else looks at is passed over.
    """
    until = judged_until(now.timestamp(), _newest_minute())
    enabled = Threshold.objects.filter(enabled=True)
    changes = sum(_watch(pk, until, now) for pk in list(enabled.order_by("pk").values_list("pk", flat=True)))
    return changes + end_unwatched(TOPIC_ID, enabled, lambda pk, anomalies: _end_all(pk, anomalies, now))


def _newest_minute() -> int | None:
    newest = TelemetryMinute.objects.order_by("-minute").values_list("minute", flat=True).first()
    return None if newest is None else _minute_number(newest)


def _minute_number(moment: datetime) -> int:
    return int(moment.timestamp() // 60)


def _watch(threshold_id: int, until: int, now: datetime) -> int:
    """One threshold, in a transaction of its own: what breaks with one does not stop the others."""
    try:
        with transaction.atomic():
            threshold = claimed(Threshold.objects.filter(enabled=True), threshold_id)
            return 0 if threshold is None else _judge(threshold, until, now)
    except Exception:
        log.exception("threshold_failed", threshold=threshold_id)
        return 0


def _judge(threshold: Threshold, until: int, now: datetime) -> int:
    limit, services = threshold.limit(), _pairs(threshold)
    minutes = _minutes(threshold, services, until)
    last = _last_breaches(threshold.pk, until - limit.out_of)
    episodes: list[Episode] = []
    for pair in services:
        course = Course(SeriesKey(*pair, limit.metric), limit.direction)
        former = last.pop(course, None)
        episodes += _episodes(threshold, course, minutes.get(pair, {}), until, former)
    # Retired since, or the threshold was changed and speaks of something else now.
    gone = [anomaly for anomaly in last.values() if anomaly.state == State.ACTIVE]
    by_name = {service.name: service for service in (*services.values(), *(anomaly.service for anomaly in gone))}
    said = {"threshold": threshold.name} | {name: getattr(limit, name) for name in SAID}
    return _record(threshold.pk, [*map(_ended, gone), *episodes], by_name, now, said)


def _episodes(
    threshold: Threshold, course: Course, minutes: Mapping[int, Sums], until: int, former: Anomaly | None
) -> Iterator[Episode]:
    """What became of one series, if anything did."""
    limit = threshold.limit()
    if not minutes and former is None and limit.no_data != "breach":
        return
    last = None if former is None else _breach_of(former)
    breach = follow(limit, points_until(limit, minutes, until), last)
    if breach is not None:
        yield _episode(threshold, course, breach, former)


def _record(
    threshold_id: int,
    episodes: list[Episode],
    services: Mapping[str, Service],
    now: datetime,
    said: dict[str, Any] | None = None,
) -> int:
    details = {each.id: said for each in episodes if said and each.state == State.ACTIVE}
    return announce(episodes, TOPIC_ID, threshold_id, services, now, details)


def _end_all(threshold_id: int, anomalies: list[Anomaly], now: datetime) -> int:
    services = {anomaly.service.name: anomaly.service for anomaly in anomalies}
    return _record(threshold_id, [_ended(anomaly) for anomaly in anomalies], services, now)


def _pairs(threshold: Threshold) -> dict[Pair, Service]:
    """The pairs it concerns that are not retired."""
    service, model = name_matcher("service", threshold.service), name_matcher("model", threshold.model)
    served = ServedModel.objects.filter(retired_at=None).select_related("service").order_by("service__name", "name")
    if threshold.project_id is not None:
        served = served.filter(service__project=threshold.project_id)
    return {
        Pair(row.service.name, row.name): row.service
        for row in served
        if service.test(row.service.name) and model.test(row.name)
    }


def _minutes(threshold: Threshold, pairs: Mapping[Pair, Service], until: int) -> dict[Pair, dict[int, Sums]]:
    """What was recorded of these pairs in the minutes that matter; rows of one minute are added up."""
    limit = threshold.limit()
    found: defaultdict[Pair, dict[int, Sums]] = defaultdict(dict)
    for row in _rows(threshold, limit, until):
        pair = Pair(row[0], row[1])
        if pair in pairs:
            _add(found[pair].setdefault(_minute_number(row[2]), Sums()), row, limit)
    return found


def _rows(threshold: Threshold, limit: Limit, until: int) -> Iterator[tuple]:  # type: ignore[type-arg]
    first, end = (moment(at * MINUTE_MS) for at in (until - limit.reach, until))
    rows: QuerySet[TelemetryMinute] = TelemetryMinute.objects.filter(minute__gte=first, minute__lt=end).order_by()
    for name in ("service", "model"):
        pattern = getattr(threshold, name)
        if not set(pattern) & set("*?["):
            rows = rows.filter(**{name: pattern})
    columns = (*_SUMS, "sketches") if limit.metric in SKETCHED else _SUMS
    return rows.values_list(*columns).iterator(chunk_size=1000)


def _add(sums: Sums, row: tuple, limit: Limit) -> None:  # type: ignore[type-arg]
    _, _, _, count, errors, cost, tokens, *sketch = row
    sums.count += count
    sums.errors += errors
    sums.cost_usd += cost
    sums.tokens += tokens
    if sketch:
        sums.histogram += decode(bytes(sketch[0]))[SKETCHED.index(limit.metric)]


def _last_breaches(threshold_id: int, since: int) -> dict[Course, Anomaly]:
    """The last anomaly of each course, of those that go on or that windows after `since` may belong to."""
    rows = Anomaly.objects.filter(topic_id=TOPIC_ID, partition=threshold_id)
    near = rows.filter(Q(state=State.ACTIVE) | Q(last_offset__gt=since)).select_related("service")
    return {_course_of(anomaly): anomaly for anomaly in near.order_by("last_offset")}


def _course_of(anomaly: Anomaly) -> Course:
    return Course(SeriesKey(anomaly.service.name, anomaly.model, anomaly.metric), anomaly.direction)


def _breach_of(anomaly: Anomaly) -> Breach:
    is_active = anomaly.state == State.ACTIVE
    return Breach(anomaly.first_offset, anomaly.last_offset, anomaly.occurrences, anomaly.value, is_active)


def _episode(threshold: Threshold, course: Course, breach: Breach, former: Anomaly | None) -> Episode:
    """The breach as the engine would tell of it."""
    goes_on = former is not None and former.first_offset == breach.first_end
    limit = threshold.limit()
    is_up = limit.direction == "up"
    return _as_episode(
        former.id if former is not None and goes_on else breach_id(threshold.pk, course, breach.first_end),
        course,
        breach,
        severity=threshold.severity,
        score=limit.score_of(breach.peak),
        lower=None if is_up else limit.value,
        upper=limit.value if is_up else None,
    )


def breach_id(threshold_id: int, course: Course, first_end: int) -> UUID:
    """A function of the breach alone: whoever finds it, and however often, finds the same."""
    return uuid5(TOPIC_ID, f"{threshold_id}|{course.key}|{course.direction}|{first_end}")


def _ended(anomaly: Anomaly) -> Episode:
    """An anomaly as it is, but over."""
    return _as_episode(
        anomaly.id,
        _course_of(anomaly),
        _breach_of(anomaly)._replace(is_active=False),
        severity=anomaly.severity,
        score=anomaly.score,
        lower=anomaly.lower,
        upper=anomaly.upper,
    )


def _as_episode(
    identity: UUID,
    course: Course,
    breach: Breach,
    *,
    severity: str,
    score: float,
    lower: float | None,
    upper: float | None,
) -> Episode:
    return episode(
        identity,
        course.key,
        course.direction,
        THRESHOLD,
        value=breach.peak,
        score=score,
        severity=severity,
        lower=lower,
        upper=upper,
        occurrences=breach.windows,
        seen_ms=(breach.first_end * MINUTE_MS, breach.last_end * MINUTE_MS),
        offsets=(breach.first_end, breach.last_end),
        is_active=breach.is_active,
    )
