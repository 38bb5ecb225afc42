"""python -m bench [NAME] [OPTIONS]: one bench, or all of them. `make bench BENCH="pipeline --runs 5"` does the same."""

from __future__ import annotations

import subprocess
import sys

from bench import DATA_MISSING

BENCHES = ("decode", "otlp", "rules", "engine", "pipeline", "doors", "api", "admin", "llm", "nab")


def main(argv: list[str]) -> int:
    """Run the benches, each in a process of its own, so that none inherits what another warmed up or left behind.

    Of all benches, those that judge detection are skipped where their recordings are not there; named, they fail.
    """
    names, options = (argv[:1], argv[1:]) if argv else (list(BENCHES), [])
    if unknown := set(names) - set(BENCHES):
        print(f"there is no bench {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    worst = 0
    for name in names:
        print(f"\n== {name}", flush=True)
        code = subprocess.run([sys.executable, "-m", f"bench.{name}", *options], check=False).returncode
        if code == DATA_MISSING and not argv:
            print(f"skipped: {name}", flush=True)
        else:
            worst |= code
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
