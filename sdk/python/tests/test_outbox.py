"""The queue: bounded, never waited for, and every event accounted for."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from standins import Kept

from llm_sentinel import Delivery, TelemetryProducer
from llm_sentinel.outbox import Statistics

OK: dict[str, Any] = {"model_name": "gpt-4", "latency_ms": 5.0, "prompt_tokens": 1, "completion_tokens": 1}


def send(producer: TelemetryProducer, count: int = 1, **values: Any) -> int:
    """Send events; how many were accepted."""
    return sum(producer.send_event(producer.create_telemetry_event(**{**OK, **values})) for _ in range(count))


def test_events_arrive_in_order(producer: TelemetryProducer, kept: Kept) -> None:
    for number in range(1000):
        send(producer, request_id=number)
    assert producer.flush(10)
    assert [event["request_id"] for event in kept.events] == [str(number) for number in range(1000)]
    assert producer.statistics == Statistics(accepted=1000, delivered=1000)


def test_what_waits_goes_together(producer: TelemetryProducer, kept: Kept) -> None:
    kept.gate.clear()
    send(producer, 251)
    kept.gate.set()
    assert producer.flush(10)
    sizes = [len(batch) for batch in kept.batches]
    assert (max(sizes), sum(sizes)) == (100, 251)
    assert len(sizes) <= 4  # the first may have left alone


def test_the_number_of_events_is_bounded_and_sending_does_not_wait(kept: Kept) -> None:
    kept.gate.clear()
    producer = TelemetryProducer(transport=kept, service_name="chat", max_queued_events=20)
    assert send(producer, 30) == 20
    assert (producer.statistics.pending, producer.statistics.dropped) == (20, 10)
    assert "queue is full" in producer.statistics.last_problem
    kept.gate.set()
    assert producer.flush(10)
    assert send(producer, 20) == 20  # there is room again
    assert producer.close()
    assert producer.statistics.delivered == 40


def test_the_bytes_are_bounded(kept: Kept) -> None:
    kept.gate.clear()
    producer = TelemetryProducer(transport=kept, service_name="chat", max_queued_bytes=50_000)
    assert 4 <= send(producer, 10, prompt_text="x" * 9_000) <= 5
    kept.gate.set()
    assert producer.close()


def test_what_cannot_be_sent_is_counted_and_not_raised(producer: TelemetryProducer) -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert send(producer, latency_ms=-1) == 0
    assert send(producer, user_id=Unspeakable()) == 0
    assert send(producer, metadata=5) == 0
    assert producer.statistics == Statistics(invalid=3, last_problem=producer.statistics.last_problem)


def test_a_transport_that_raises_loses_its_batch_only(producer: TelemetryProducer, kept: Kept) -> None:
    kept.verdict = OSError("no way")
    send(producer, 3)
    assert producer.flush(10)
    kept.verdict = Delivery()
    send(producer, 2)
    assert producer.flush(10)
    assert producer.statistics == Statistics(accepted=5, delivered=2, lost=3, last_problem="OSError: no way")


def test_rejected_and_lost_events_are_told_apart(producer: TelemetryProducer, kept: Kept) -> None:
    kept.gate.clear()
    send(producer)
    send(producer, 9)
    kept.verdict = Delivery(rejected=1, reason="odd")
    kept.gate.set()
    assert producer.flush(10)
    counts = producer.statistics
    assert counts.rejected == len(kept.batches)
    assert counts.accepted == counts.delivered + counts.rejected + counts.lost == 10


def test_flush_says_when_time_is_over(producer: TelemetryProducer, kept: Kept) -> None:
    kept.gate.clear()
    send(producer)
    assert not producer.flush(0.05)
    kept.gate.set()
    assert producer.flush(10)


def test_flush_does_not_wait_for_company(kept: Kept) -> None:
    kept.linger_seconds = 3600.0
    producer = TelemetryProducer(transport=kept, service_name="chat")
    send(producer)
    assert producer.flush(10)
    assert producer.close()


def test_close_gives_up_in_time_and_counts_what_it_gave_up(kept: Kept) -> None:
    kept.gate.clear()
    producer = TelemetryProducer(transport=kept, service_name="chat")
    send(producer, 250)
    assert not producer.close(0.1)
    counts = producer.statistics
    assert (counts.lost, counts.pending) == (250, 0)
    assert kept.closed


def test_after_close_events_are_dropped(producer: TelemetryProducer, kept: Kept) -> None:
    send(producer)
    assert producer.close()
    assert producer.close()
    assert send(producer) == 0
    assert (len(kept.events), producer.statistics.dropped) == (1, 1)


def test_threads_may_share_a_producer(producer: TelemetryProducer, kept: Kept) -> None:
    threads = [threading.Thread(target=send, args=(producer, 200)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert producer.flush(10)
    assert len({event["event_id"] for event in kept.events}) == 1600


def test_losses_are_logged_once_in_a_while(producer: TelemetryProducer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "llm_sentinel"):
        send(producer, 50, latency_ms=-1)
    assert len(caplog.records) == 1
    assert "latency_ms must not be negative" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # it is what this is about
def test_a_forked_child_sends_its_own_events_and_none_of_the_parent(kept: Kept) -> None:
    kept.gate.clear()
    producer = TelemetryProducer(transport=kept, service_name="chat")
    send(producer, 5)
    child = os.fork()
    if child == 0:
        kept.batches.clear()
        kept.gate = threading.Event()
        kept.gate.set()
        send(producer, 2)
        well = producer.flush(10) and producer.statistics == Statistics(accepted=2, delivered=2)
        os._exit(0 if well and len(kept.events) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    kept.gate.set()
    assert producer.close()
    assert producer.statistics.delivered == 5


def test_what_is_pending_at_exit_is_delivered() -> None:
    script = """
import sys
from llm_sentinel import Delivery, TelemetryProducer

class Printed:
    batch_events, batch_bytes, linger_seconds = 10, 1000, 60.0
    def deliver(self, batch, pause):
        sys.stdout.write(f"{len(batch)} delivered")
        return Delivery()
    def after_fork(self): ...
    def close(self): ...

producer = TelemetryProducer(transport=Printed())
producer.send_event(producer.create_telemetry_event("chat", "gpt-4", 1.0, 1, 1))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("1 delivered", "")


def test_exactly_one_way_to_send_must_be_named(kept: Kept) -> None:
    for ways in ({}, {"url": "http://localhost", "brokers": ["localhost:9092"]}, {"transport": kept, "url": "x"}):
        with pytest.raises(ValueError, match="exactly one"):
            TelemetryProducer(**ways)


def test_settings_that_cannot_be_used_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="no-such-property"):
        TelemetryProducer(brokers=["localhost:9092"], kafka_settings={"no-such-property": 1})
    with pytest.raises(ValueError, match="url must be like"):
        TelemetryProducer(url="localhost:8080")
    with pytest.raises(ValueError, match="1 or more"):
        TelemetryProducer(url="http://localhost:8080", max_queued_events=0)
