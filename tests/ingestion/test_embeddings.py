"""Embeddings of events: where they go, and where they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from anomalies.detection.distributions import is_chosen
from anomalies.detection.engine import Engine
from anomalies.detection.saving import StateWriter
from anomalies.detection.settings import DetectionSettings
from baselines.store import PartitionName
from ingestion.backtesting.rows import DetectionRow
from ingestion.backtesting.trial import PARTITION, TOPIC_ID, Trial
from ingestion.columns import vectors_of
from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.validation import Limits
from ingestion.metrics import EMBEDDINGS_SKIPPED
from ingestion.partition import OwnedPartition
from ingestion.privacy.payloads import scrub_payload
from ingestion.recent import RecentIds
from ingestion.sources import Source
from tests.ingestion.pipeline.fakes import FakeMessage

BEGIN_NS = 1_790_000_000_000_000_000
CALIBRATED = DetectionSettings(mode="calibrated")
NAME = PartitionName("llm.telemetry", TOPIC_ID, PARTITION)
COUNT = 200


def events() -> list[Event]:
    """A call a second; every second one has an embedding, and the last of those has one of another dimension."""
    random = np.random.default_rng(1)
    made = [
        Event(BEGIN_NS + second * 10**9, "s", "m", f"e{second}", 100.0, 10, 20, 30, 0.01, "reported")
        for second in range(COUNT)
    ]
    for event in made[::2]:
        event.embedding = json.dumps(random.normal(size=4).tolist()).encode()
    last = max(place for place in range(0, COUNT, 2) if is_chosen(place))
    made[last].embedding = b"[1, 2, 3]"
    return made


def messages() -> Any:
    return [
        FakeMessage(at, native.encode(event), None, event.timestamp_ns // 10**6) for at, event in enumerate(events())
    ]


def ignored(_: DetectionRow) -> None:
    pass


def test_live_and_in_a_backtest_they_are_learned_alike(tmp_path: Path) -> None:
    engine = Engine(CALIBRATED, TOPIC_ID, PARTITION)
    live = OwnedPartition(NAME, engine, StateWriter(engine), RecentIds(500), Limits(), 0)
    before = EMBEDDINGS_SKIPPED._value.get()
    live.take(messages())
    work = live.drain()
    assert EMBEDDINGS_SKIPPED._value.get() == before + 1
    trial = Trial("it", CALIBRATED, 500, ignored)
    for first in range(0, COUNT, 33):
        trial.take(events()[first : first + 33])
    assert work.pieces["e:0"] == trial.engine.embeddings[0].to_bytes()
    assert engine.embeddings[0].taken == sum(is_chosen(place) for place in range(0, COUNT, 2)) - 1


def test_one_event_in_eight_is_read() -> None:
    found = vectors_of(events(), np.arange(COUNT))
    assert list(found) == [place for place in range(0, COUNT, 2) if is_chosen(place)]
    assert 0 < len(found) < COUNT / 4


def test_what_waits_to_be_stored_holds_none() -> None:
    source = Source(PartitionName("llm.telemetry", UUID(int=1), 0), 0, 0, RecentIds(500))
    source.take(messages(), Limits())
    assert len(source.events) == COUNT
    assert not any(event.embedding for event in source.events)


def test_a_message_that_does_not_parse_loses_them_before_it_is_kept() -> None:
    for broken in (
        b'{"prompt":{"tokens":1,"embedding": [0.25,0.5],"x":',
        b'{"embedding":[0.25,\n0.5',
        b'{"embedding":[0.25,NaN]}',
    ):
        kept = scrub_payload(broken, (), 1000)
        assert b"0.25" not in kept
        assert b"0.5" not in kept
        assert b'"embedding"' in kept
