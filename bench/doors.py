"""Every door against what is malformed, mutated, oversized or made to explode: nothing breaks, nothing is lost unsaid.

python -m bench doors                     # figures; 1 on any failure
python -m bench.doors --mutations 20000 --size 20

A real web server (one worker, four threads) and real consumers on real Kafka, PostgreSQL and Redis. Memory is the peak
of each process beyond what the same process needed for harmless requests.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bench import machine
from bench.figures import save, table
from bench.hostility import consumers, requests
from bench.hostility.server import web_server
from bench.premises import Addresses, ServiceMissing, premises

MOST_MB = 300


@dataclass
class Finding:
    """What one door made of all that it was given."""

    door: str
    given: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    growth_mb: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.faults and self.growth_mb <= MOST_MB


def measure(addresses: Addresses, mutations: int, size: int, seed: int) -> list[Finding]:
    """Try all doors with so many mutated inputs each, and hostile bodies of `size` bytes."""
    with premises(addresses) as place:
        with web_server(place) as server:
            found = [Finding(**each) for each in requests.tried(server, mutations, size, seed)]
        found += [Finding(**each) for each in consumers.tried(place, mutations, seed)]
    return found


def show(findings: Sequence[Finding]) -> str:
    """A table, and every fault below it."""
    rows = [
        [each.door, f"{each.given:,}", f"{each.growth_mb:,.0f}", str(len(each.faults)), _told(each.outcomes)]
        for each in findings
    ]
    faults = [f"{each.door}: {fault}" for each in findings for fault in each.faults[:5]]
    return "\n".join([table(["door", "given", "growth MB", "faults", "outcomes"], rows), *faults])


def _told(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(outcomes.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and save the figures; 1 if a door failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=5_000, help="mutated inputs for each door")
    parser.add_argument("--size", type=float, default=20, help="MiB of the largest bodies")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(argv)
    try:
        addresses = Addresses.of(dict(os.environ))
    except ServiceMissing as error:
        print(error, file=sys.stderr)
        return 2
    findings = measure(addresses, chosen.mutations, int(chosen.size * (1 << 20)), chosen.seed)
    print(machine.line())
    print(show(findings))
    print(f"written to {save('doors', json.loads(json.dumps([asdict(each) for each in findings])))}")
    return 0 if all(each.is_good for each in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
