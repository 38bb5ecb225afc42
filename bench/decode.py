"""What reading and writing native events costs by itself: events per second of one core.

Messages are read in batches, as consumers read them from Kafka, and one by one, as what is odd is read; identifiers and
labels recur, as they do while a session lasts, so all but the first run find them known to be clean.

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
from ingestion.formats.batches import decode_all
from ingestion.formats.native import decode, encode
from ingestion.formats.validation import Limits

FOREVER_MS = 1 << 62
BATCH = 500


def rates(count: int, runs: int) -> dict[str, list[float]]:
    """Events per CPU second of each run, by what was done."""
    some = list(events(count))
    payloads = [encode(event) for event in some]
    limits = Limits()
    work: dict[str, tuple[Callable[[list[Any]], list[Any]], list[Any]]] = {
        "decode": (lambda batch: decode_all(batch, [FOREVER_MS] * len(batch), limits), payloads),
        "decode one by one": (
            lambda batch: [decode(payload, received_ms=FOREVER_MS, limits=limits) for payload in batch],
            payloads,
        ),
        "encode": (lambda batch: [encode(event) for event in batch], some),
    }
    found: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(runs):  # in turn, so that a slow moment of the machine does not fall on one of them
        for name, step in work.items():
            found[name].append(count / _cpu_seconds(*step))
    return found


def _cpu_seconds(step: Callable[[list[Any]], list[Any]], items: list[Any]) -> float:
    """Of all items, in batches as they come from Kafka."""
    began = time.process_time()
    for start in range(0, len(items), BATCH):
        step(items[start : start + BATCH])
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
