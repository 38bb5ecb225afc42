"""The consumer as it is measured: a process of its own that says what the messages cost it, start-up left out.

Its standard output is one line of JSON: events, wall and CPU seconds from the first message until all effects of the
last are durable and the groups are left, and the peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence

import django

LOOK_EVERY_S = 0.002


def pin(core: int | None) -> None:
    """Keep this process on one core, where the system knows how."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


class Clock:
    """Notes wall and CPU time when `begun` first says so."""

    def __init__(self, begun: Callable[[], bool]) -> None:
        self._begun = begun
        self.started: tuple[float, float] | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._begun():
            time.sleep(LOOK_EVERY_S)
        self.started = time.perf_counter(), time.process_time()

    def elapsed(self) -> tuple[float, float]:
        """Wall and CPU seconds since then."""
        ended = time.perf_counter(), time.process_time()
        wall, cpu = self.started or ended
        return ended[0] - wall, ended[1] - cpu


def run(roles: Sequence[str], topic: str, group: str) -> dict[str, float]:
    """Run the roles up to the end of the topic; returns the figures."""
    # Only after django.setup().
    from bench import engine  # noqa: PLC0415
    from ingestion import metrics  # noqa: PLC0415
    from ingestion.runner import RunOptions, build_runner, collect_seldom  # noqa: PLC0415

    engine.measure(engine.Case(10), 2_000)  # compiles
    runner = build_runner(roles, RunOptions(topics=(topic,), group_id=group, until_end=True))
    collect_seldom()
    consumed = metrics.KAFKA_MESSAGES_CONSUMED.labels(topic)
    clock = Clock(lambda: consumed._value.get() > 0)
    if runner.run(threading.Event(), until_end=True):
        sys.exit("; ".join(runner.failed))
    wall, cpu = clock.elapsed()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"consumed": consumed._value.get() / len(roles), "wall_s": wall, "cpu_s": cpu, "memory_mb": memory}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roles", nargs="+", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--core", type=int)
    chosen = parser.parse_args()
    pin(chosen.core)
    django.setup()
    print(json.dumps(run(chosen.roles, chosen.topic, chosen.group)), flush=True)


if __name__ == "__main__":
    main()
