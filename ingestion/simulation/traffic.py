"""Simulated traffic on its way to Kafka: what is missing of the past at full speed, then as time goes by."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Max

from baselines.models import TelemetryMinute
from ingestion.formats import native
from ingestion.pacing import SECOND_NS, Clock, WallClock, waits_until
from ingestion.publishing import Publisher
from ingestion.simulation.fleet import fleet
from ingestion.simulation.generator import Traffic
from ingestion.simulation.scenarios import SCENARIOS, Recurring

log = structlog.get_logger(__name__)

DEMO_PREFIX = "demo-"
DEMO_SERVICES = 5
DEMO_RATE = 10.0
DEMO_SEED = 2024
DEMO_BACKFILL = timedelta(hours=6)
DEMO_FIRST_INCIDENT = timedelta(seconds=60)
DEMO_INCIDENT_EVERY = timedelta(minutes=30)
DEMO_SCENARIOS = ("token_explosion", "latency_shift", "cost_double", "error_burst", "latency_spike", "user_abuse")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)


def nanoseconds(moment: datetime) -> int:
    """An aware time as nanoseconds since 1970 (UTC)."""
    return in_ns(moment - _EPOCH)


def in_ns(length: timedelta) -> int:
    """A duration in nanoseconds."""
    return length // _MICROSECOND * 1000


def missing_since(services: Iterable[str], now: datetime, backfill: timedelta) -> dict[str, int]:
    """By service, the time (ns) from which telemetry is missing: after its newest minute, `backfill` ago at most."""
    names = list(services)
    newest = TelemetryMinute.objects.filter(service__in=names).values("service").annotate(newest=Max("minute"))
    known = {row["service"]: row["newest"] + _MINUTE for row in newest}
    return {name: nanoseconds(min(now, max(now - backfill, known.get(name, now - backfill)))) for name in names}


def publishing(
    traffic: Traffic, publisher: Publisher, clock: Clock, since: dict[str, int], end_ns: int | None = None
) -> Iterator[int]:
    """Publishes each event when its time has come, what lies in the past at once; ends at `end_ns` or with the clock.

    Yields the event time (ns) it has come to: after every slot of the past, and at least every half second of the
    present, so that whoever drives it can look around.
    """
    for batch in traffic.batches(min(since.values()), end_ns, since):
        for event in batch:
            for stopped in waits_until(clock, event.timestamp_ns):
                if stopped:
                    return
                yield clock.now_ns()
            publisher.publish(event.service, event.model, native.encode(event))
        if clock.wait(0):
            return
        if batch:
            yield batch[-1].timestamp_ns
    if end_ns is not None:
        for stopped in waits_until(clock, end_ns):
            if stopped:
                return
            yield clock.now_ns()


def demo_traffic(now_ns: int) -> Traffic:
    """A small company with an incident every half hour, in its past as well; the next one begins in a minute."""
    streams = fleet(DEMO_SERVICES, DEMO_PREFIX)
    schedule = Recurring(
        scenarios=[SCENARIOS[name] for name in DEMO_SCENARIOS],
        streams=[stream for stream in streams if stream.share >= 1 / len(streams)],
        every_ns=in_ns(DEMO_INCIDENT_EVERY),
        anchor_ns=now_ns + in_ns(DEMO_FIRST_INCIDENT),
    )
    return Traffic(streams, DEMO_RATE, DEMO_SEED, schedule)


def run_demo(bootstrap: str, stop: threading.Event) -> None:
    """Keep the embedded installation busy until `stop`: the last six hours, as far as missing, then the present."""
    kafka: Any = settings.SENTINEL.ingestion.kafka
    kafka = kafka.model_copy(update={"brokers": tuple(bootstrap.split(","))})
    clock = WallClock(stop)
    now = datetime.now(UTC)
    traffic = demo_traffic(nanoseconds(now))
    since = missing_since({stream.service for stream in traffic.streams}, now, DEMO_BACKFILL)
    log.info("demo_backfill", services=len(since), since=min(since.values()) // SECOND_NS)
    live = False
    with Publisher(kafka, kafka.topic, clock) as publisher:
        for position_ns in publishing(traffic, publisher, clock, since):
            if not live and position_ns >= clock.now_ns() - 5 * SECOND_NS:
                live = True
                log.info("demo_live", events=publisher.sent)
