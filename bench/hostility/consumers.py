"""The doors of Kafka: malformed records on the native topic, mutated ones on those of OpenTelemetry Collector."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.hostility.mutations import harmless, mutated
from bench.premises import PARTITIONS, ROOT, SECONDS, Premises, topics
from ingestion.formats.otlp import Encoding, Unreadable, logs_of, sniffed, spans_of
from ingestion.formats.validation import Limits
from tests.ingestion.malformed import good_message, malformed_messages
from tests.support.hostile import otlp_bodies

LONGEST_S = 900
RECORD_BYTES = 900_000  # brokers take a megabyte
ENCODINGS: tuple[Encoding, ...] = ("protobuf", "json")
Place = tuple[str, int, int]
Finding = dict[str, Any]


def tried(place: Premises, count: int, seed: int) -> Iterator[Finding]:
    """Try the roles on records of their topics: each is stored, republished, or a dead letter."""
    yield _native(place, count, seed)
    yield _normalized(place, count, seed)


def _native(place: Premises, count: int, seed: int) -> Finding:
    rng = random.Random(seed)
    harmless_peak = _run(place, "warm", ("detect", "store"), [(place.topic, good_message(rng)) for _ in range(count)])
    start, stored = _length(place, _dead(place)), _stored(place)
    bad = [payload for payload, _ in malformed_messages(count, seed)]
    sent = [(place.topic, payload) for payload in bad + [good_message(rng) for _ in range(count)]]
    rng.shuffle(sent)
    peak = _run(place, "native", ("detect", "store"), sent, group="warm")
    letters, rows = _length(place, _dead(place)) - start, _stored(place) - stored
    faults = [] if (letters, rows) == (count, count) else [f"of {count} bad and {count} good: {letters}, {rows}"]
    return _finding(
        "Kafka, native topic", len(sent), {"dead letters": letters, "rows": rows}, peak - harmless_peak, faults
    )


def _normalized(place: Premises, count: int, seed: int) -> Finding:
    names = {signal: f"{place.name}.{signal}" for signal in ("traces", "metrics", "logs")}
    section = {"spans_topic": names["traces"], "metrics_topic": names["metrics"], "logs_topic": names["logs"]}
    variables = {"SENTINEL__INGESTION__NORMALIZE": json.dumps(section)}
    with ExitStack() as stack:
        stack.enter_context(topics(place.addresses.kafka, list(names.values())))
        good = [(names["traces"], harmless(encoding, 512)) for encoding in ENCODINGS for _ in range(10)]
        harmless_peak = _run(place, "normalize", ("normalize",), good, variables)
        before = _length(place, place.topic)
        sent = [(names[signal], payload) for signal, payload in _records(count, seed)]
        places: dict[Place, bytes] = {}
        peak = _run(place, "normalize", ("normalize",), sent, variables, places=places)
        expected, events = _expected(places, names)
        letters = {at for at in _letters(place) if at[0] != names["metrics"]}
        found = _length(place, place.topic) - before
    faults = [f"no letter for {at}" for at in expected - letters] + [
        f"a letter too many: {at}" for at in letters - expected
    ]
    faults += [] if found >= events else [f"{events} events were sent in spans and log records, {found} arrived"]
    outcomes = {"records in letters": len(letters), "events": found}
    return _finding("Kafka, OTLP topics", len(sent), outcomes, peak - harmless_peak, faults)


def _records(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    for signal in ("traces", "logs", "metrics"):
        for encoding in ENCODINGS:
            for payload in mutated(signal, encoding, count // 6, seed):  # type: ignore[arg-type]
                yield signal, payload
    for body in otlp_bodies(RECORD_BYTES):
        if body.encoding == "identity":
            yield body.signal, body.make()[:RECORD_BYTES]


def _expected(places: dict[Place, bytes], names: dict[str, str]) -> tuple[set[Place], int]:
    """The records of spans and logs of which something is refused, and how many events there are in all of them."""
    decoders, refused, events = {names["traces"]: spans_of, names["logs"]: logs_of}, set(), 0
    for at, payload in places.items():
        if at[0] not in decoders:
            continue
        try:
            decoded = decoders[at[0]](payload, sniffed(payload), received_ms=1 << 42, limits=Limits())
        except Unreadable:
            refused.add(at)
            continue
        events += len(decoded.events)
        if decoded.rejections:
            refused.add(at)
    return refused, events


def _run(
    place: Premises,
    name: str,
    roles: Iterable[str],
    sent: list[tuple[str, bytes]],
    variables: dict[str, str] | None = None,
    *,
    group: str = "",
    places: dict[Place, bytes] | None = None,
) -> float:
    """Publish records and have roles read them to the end; returns the peak of their memory in MB."""
    _publish(place, sent, places if places is not None else {})
    return max(_consume(place, role, f"{place.name}-{group or name}", variables or {}) for role in roles)


def _publish(place: Premises, sent: list[tuple[str, bytes]], places: dict[Place, bytes]) -> None:
    """Raises TimeoutError if Kafka does not take all of it."""
    producer = Producer({"bootstrap.servers": place.addresses.kafka, "linger.ms": 20, "acks": "all"})
    for topic, payload in sent:

        def landed(error: Any, message: Any, payload: bytes = payload) -> None:
            if error is None:
                places[message.topic(), message.partition(), message.offset()] = payload

        producer.produce(topic, payload, on_delivery=landed)
        producer.poll(0)
    if producer.flush(SECONDS) or len(places) != len(sent):
        raise TimeoutError(f"Kafka took {len(places)} of {len(sent)} records")


CONSUMER = (
    "import resource, sys; from django.core.management import call_command; import django; django.setup()\n"
    "try:\n    call_command('consume_telemetry', role=sys.argv[1], group_id=sys.argv[2], until_end=True)\n"
    "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)"
)


def _consume(place: Premises, role: str, group: str, variables: dict[str, str]) -> float:
    """Raises CalledProcessError where the role breaks."""
    command = [sys.executable, "-c", CONSUMER, role, group]
    environment = place.environment | variables
    found = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, timeout=LONGEST_S, check=True)
    return float(found.stdout.split()[-1])


def _dead(place: Premises) -> str:
    return f"{place.name}.dead"


def _stored(place: Premises) -> int:
    with psycopg.connect(place.environment["SENTINEL__DATABASE__URL"]) as connection:
        row = connection.execute("SELECT count(*) FROM ingestion_telemetryevent").fetchone()
    return int(row[0]) if row else 0


def _reader(place: Premises) -> Consumer:
    return Consumer({"bootstrap.servers": place.addresses.kafka, "group.id": f"{place.name}-looks"})


def _length(place: Premises, topic: str) -> int:
    """How many messages were ever written to a topic."""
    reader = _reader(place)
    try:
        ends = [reader.get_watermark_offsets(TopicPartition(topic, number), SECONDS)[1] for number in range(PARTITIONS)]
    finally:
        reader.close()
    return sum(ends)


def _letters(place: Premises) -> set[Place]:
    """The records of other topics than the native one that dead letters are about."""
    reader, found = _reader(place), set[Place]()
    left = _length(place, _dead(place))
    reader.assign([TopicPartition(_dead(place), number, 0) for number in range(PARTITIONS)])
    try:
        while left > 0:
            for message in reader.consume(1000, SECONDS):
                left -= 1
                letter = json.loads(message.value() or b"{}")
                if letter["topic"] != place.topic:
                    found.add((letter["topic"], letter["partition"], letter["offset"]))
    finally:
        reader.close()
    return found


def _finding(door: str, given: int, outcomes: dict[str, int], growth: float, faults: list[str]) -> Finding:
    growth = max(growth, 0.0)
    return {"door": door, "given": given, "outcomes": outcomes, "growth_mb": growth, "faults": faults}
