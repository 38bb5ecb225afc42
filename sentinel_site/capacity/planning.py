"""The size of an installation for a load. A pure function; docs/capacity.md has the same formulas in words."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from sentinel_site.capacity import measured

MAX_EVENTS_PER_SECOND = 1_000_000
UTILISATION = 0.6
"""Share of a process's measured rate that is planned with; the rest takes up restarts, peaks and replays."""
GROWTH = 2
"""Partitions per replica: moving a series to another partition starts it anew, so leave room to double."""
LEAST_PARTITIONS, PARTITION_STEP = 12, 6
LEAST_REPLICAS = 2
KAFKA_REPLICATION, KAFKA_HOURS = 3, 72
REDIS_HEADROOM = 2.0
"""While Redis rewrites its log, a page that changes exists twice."""
MEMORY_HEADROOM = 1.25
STORE_OVERHEAD = 1.5
"""Catalogue, write-ahead log and files that wait for compaction, over what the compacted files take."""
DATABASE_OVERHEAD = 1.3
"""Dead rows until vacuum, write-ahead log, and tables that do not grow with load."""
DAY = 86_400
ANOMALIES_A_DAY_FOR_PEOPLE = 200


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in. `retention_days` are those of single events; the others are as in storage.retention."""

    events_per_second: float
    pairs: int
    retention_days: float
    minutes_days: int = 90
    hours_days: int = 730
    anomalies_days: int = 365
    anomalies_per_100k: float = 10.0
    max_novelty_series: int = 100
    max_series: int = 20_000

    def __post_init__(self) -> None:
        """Raises ValueError with what is allowed."""
        if not 0 < self.events_per_second <= MAX_EVENTS_PER_SECOND:
            raise ValueError(f"events per second must be above 0 and at most {MAX_EVENTS_PER_SECOND:,}")
        if self.pairs < 1:
            raise ValueError("pairs of service and model must be 1 or more")
        if self.retention_days <= 0:
            raise ValueError("the retention must be longer than nothing")


@dataclass(frozen=True, slots=True)
class Role:
    """`memory_bytes` is the limit for one replica."""

    name: str
    replicas: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Bytes everywhere; `kafka_disk_bytes` counts all copies, the others are of one server without replicas."""

    partitions: int
    roles: tuple[Role, ...]
    kafka_disk_bytes: int
    redis_bytes: int
    influxdb_disk_bytes: int
    influxdb_lines_per_second: float
    influxdb_bytes_per_second: float
    postgresql_disk_bytes: int
    minutes_rows: int
    hours_rows: int
    anomalies_rows: int
    warnings: tuple[str, ...]


def plan(load: Load) -> Plan:
    """What `load` needs."""
    detect, store = detect_replicas(load), store_replicas(load)
    partitions = partitions_for(max(detect, store))
    state = state_bytes(load, partitions)
    minutes, hours, anomalies = rows(load)
    stored = measured.MINUTE_BYTES * minutes + measured.HOUR_BYTES * hours + measured.ANOMALY_BYTES * anomalies
    kept = load.events_per_second * DAY * load.retention_days
    return Plan(
        partitions=partitions,
        roles=(
            Role("detect", detect, ceil((measured.DETECT_BASE_BYTES + state / detect) * MEMORY_HEADROOM)),
            Role("store", store, ceil(measured.STORE_BASE_BYTES * MEMORY_HEADROOM)),
        ),
        kafka_disk_bytes=ceil(
            load.events_per_second * 3_600 * KAFKA_HOURS * measured.EVENT_BYTES_KAFKA * KAFKA_REPLICATION
        ),
        redis_bytes=ceil(state * REDIS_HEADROOM),
        influxdb_disk_bytes=ceil(kept * measured.EVENT_BYTES_PARQUET * STORE_OVERHEAD),
        influxdb_lines_per_second=load.events_per_second,
        influxdb_bytes_per_second=load.events_per_second * measured.LINE_BYTES_SENT,
        postgresql_disk_bytes=ceil(stored * DATABASE_OVERHEAD),
        minutes_rows=minutes,
        hours_rows=hours,
        anomalies_rows=anomalies,
        warnings=tuple(warnings(load, partitions)),
    )


def detect_rate(pairs: int) -> float:
    """Events a second of one detect process that has so many pairs: more state costs each event what memory costs."""
    (_, least), *_ = measured.ENGINE_EVENTS_PER_SECOND
    rates = [rate for known, rate in measured.ENGINE_EVENTS_PER_SECOND if known >= pairs]
    engine = rates[0] if rates else measured.ENGINE_EVENTS_PER_SECOND[-1][1]
    return 1 / (1 / measured.DETECT_EVENTS_PER_SECOND + 1 / engine - 1 / least)


def detect_replicas(load: Load) -> int:
    """Found for all pairs on one process: those that share them do better, so this errs towards more."""
    return max(LEAST_REPLICAS, ceil(load.events_per_second / (detect_rate(load.pairs) * UTILISATION)))


def store_replicas(load: Load) -> int:
    return max(LEAST_REPLICAS, ceil(load.events_per_second / (measured.STORE_EVENTS_PER_SECOND * UTILISATION)))


def partitions_for(replicas: int) -> int:
    """At least one for each consumer of a group, with room to grow, in steps that many group sizes divide."""
    return max(LEAST_PARTITIONS, ceil(replicas * GROWTH / PARTITION_STEP) * PARTITION_STEP)


def state_bytes(load: Load, partitions: int) -> int:
    """State of detection of all partitions: every pair, and the series that novelty watches."""
    watched = min(load.pairs * 4, load.max_novelty_series * partitions)
    return load.pairs * measured.PAIR_BYTES + watched * measured.NOVELTY_SERIES_BYTES


def rows(load: Load) -> tuple[int, int, int]:
    """Rows of minutes, hours and anomalies once the oldest are as old as they get. A quiet pair writes no minute."""
    per_minute = min(load.pairs, load.events_per_second * 60)
    per_hour = min(load.pairs, load.events_per_second * 3_600)
    return (
        ceil(per_minute * 1_440 * load.minutes_days),
        ceil(per_hour * 24 * load.hours_days),
        ceil(anomalies_a_day(load) * load.anomalies_days),
    )


def anomalies_a_day(load: Load) -> float:
    """As many as the target of false alarms allows; what is really wrong comes on top."""
    return load.events_per_second * DAY * load.anomalies_per_100k / 100_000


def warnings(load: Load, partitions: int) -> list[str]:
    """What no number of replicas solves."""
    found = []
    if load.pairs < partitions:
        found.append(
            f"{load.pairs} pairs cannot occupy {partitions} partitions: a pair is always on one. "
            "Split a service, or take fewer partitions and replicas."
        )
    if load.events_per_second / load.pairs > detect_rate(1) * UTILISATION:
        found.append(f"A pair alone brings more than one process can take ({detect_rate(1) * UTILISATION:,.0f}/s).")
    if load.pairs > load.max_series * partitions:
        found.append(f"detection.max_series ({load.max_series:,} a partition) is exceeded; the rest shares one pair.")
    if load.events_per_second > measured.INFLUXDB_LINES_PER_SECOND:
        found.append(
            f"One InfluxDB 3 Core node is not expected to take over {measured.INFLUXDB_LINES_PER_SECOND:,} lines/s: "
            "divide the services among several installations, or use the clustered edition."
        )
    if (daily := anomalies_a_day(load)) > ANOMALIES_A_DAY_FOR_PEOPLE:
        found.append(
            f"The target of false alarms allows {daily:,.0f} a day: lower detection.false_alarms_per_100k "
            f"(now {load.anomalies_per_100k:g}) to {load.anomalies_per_100k * ANOMALIES_A_DAY_FOR_PEOPLE / daily:.2g} "
            f"for {ANOMALIES_A_DAY_FOR_PEOPLE}."
        )
    return found
