"""What reading and writing native events costs by itself: events per second of one core.

python -m bench decode
python -m bench.decode --events 20000 --runs 15
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench import machine
from bench.figures import Spread, save, table
from bench.messages import events
from ingestion.formats.native import decode, encode
from ingestion.formats.validation import Limits

FOREVER_MS = 1 << 62
BATCH = 500


def rates(count: int, runs: int) -> dict[str, list[float]]:
    """Events per CPU second of each run, by what was done."""
    some = list(events(count))
    payloads = [encode(event) for event in some]
    limits = Limits()
    work: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
        "decode": (lambda payload: decode(payload, received_ms=FOREVER_MS, limits=limits), payloads),
        "encode": (encode, some),
    }
    return {name: [count / _cpu_seconds(*step) for _ in range(runs)] for name, step in work.items()}


def _cpu_seconds(step: Callable[[Any], Any], items: list[Any]) -> float:
    """Of all items, in batches as they come from Kafka."""
    began = time.process_time()
    for start in range(0, len(items), BATCH):
        [step(item) for item in items[start : start + BATCH]]
    return time.process_time() - began


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=15)
    chosen = parser.parse_args(argv)
    found = rates(chosen.events, chosen.runs)
    rows = [
        [name, Spread.of(values).text(), Spread.of([1e6 / value for value in values]).text(".2f")]
        for name, values in found.items()
    ]
    print(machine.line())
    print(table(["", "events/s per core", "us/event"], rows))
    print(f"written to {save('decode', found)}")


if __name__ == "__main__":
    main()
