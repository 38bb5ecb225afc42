"""A consumer killed at every step and started again leaves what one uninterrupted run leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingestion.formats.event import partition_key
from ingestion.recordings import Recording, Trace, read_llm_trace
from tests.ingestion.pipeline.conftest import MakeWorld
from tests.ingestion.pipeline.recordings import Message, traffic
from tests.ingestion.pipeline.rows import ALL, differences, dump
from tests.ingestion.pipeline.worlds import KILLED, World, publish

EVERY_STEP = ("decode:2", "produce:1", "score:3", "postgres:1", "redis:1", "commit:1", "write:1")


def crash_through(world: World, messages: list[Message], batch: int) -> None:
    """Publish a part of the messages and have the consumer killed at each step in turn; then let it come to the end."""
    # A member that comes back under its name need not wait until the group takes the killed one for dead.
    named = world.configured(SENTINEL__INGESTION__KAFKA__GROUP_INSTANCE_ID="only")
    share = -(-len(messages) // len(EVERY_STEP))
    with named.forked() as consume:
        for number, failpoint in enumerate(EVERY_STEP):
            publish(world.topics, messages[number * share : (number + 1) * share])
            ended = consume("--batch-size", str(batch), failpoint=failpoint)
            assert ended == KILLED, f"{failpoint} was not reached"
        assert consume() == 0


@pytest.mark.timeout(300)
def test_kills_at_every_step_leave_the_rows_of_an_uninterrupted_run(make_world: MakeWorld) -> None:
    whole, broken = make_world(), make_world()
    crash_through(broken, list(traffic(6000)), batch=100)
    ended = whole.consume("--batch-size", "700")
    assert ended.returncode == 0, ended.stdout
    expected = dump(whole.database)
    assert all(expected[name] for name in ALL)
    assert not differences(expected, dump(broken.database))


@pytest.fixture
def azure_trace() -> Path:
    folder = os.environ.get("SENTINEL_BENCH_DATA", "")
    path = Path(folder, "azure_llm", "code.csv")
    if not (folder and path.is_file()):
        pytest.skip("SENTINEL_BENCH_DATA names no folder with azure_llm/code.csv")
    return path


@pytest.mark.timeout(300)
def test_kills_while_the_real_trace_is_read_leave_the_rows_of_an_uninterrupted_run(
    azure_trace: Path, make_world: MakeWorld
) -> None:
    whole, broken = make_world(), make_world()
    with Recording(azure_trace) as recording:
        trace = [
            (partition_key(call.service, call.model), call.payload, call.timestamp_ns // 1_000_000)
            for call in read_llm_trace(recording, refuse, Trace())
        ]
    crash_through(broken, trace, batch=100)
    ended = whole.consume()
    assert ended.returncode == 0, ended.stdout
    expected = dump(whole.database)
    assert all(expected[name] for name in ALL)
    assert not differences(expected, dump(broken.database))


def refuse(line: int, reason: str) -> None:
    raise AssertionError(f"line {line} of the trace: {reason}")
