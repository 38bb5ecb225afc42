"""Consumers forked from one process that has everything imported: a start costs tenths of a second, not seconds.

    python -m tests.ingestion.pipeline.forked

Reads lines `FAILPOINT OPTION...` (`-` for no failpoint), runs `consume_telemetry` with these options in a fork each,
and answers each with a line: its exit code, negative for a signal. No thread runs and no client is open in the parent.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import django


def main() -> None:
    django.setup()
    from ingestion import runner  # noqa: F401  imports all that a consumer needs

    for line in sys.stdin:
        failpoint, *options = line.split()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            run(failpoint, options)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(failpoint: str, options: list[str]) -> None:
    """The child: never returns."""
    from django.core.management import call_command

    from ingestion import failpoints

    code = 0
    try:
        os.environ["SENTINEL_FAILPOINT"] = "" if failpoint == "-" else failpoint
        importlib.reload(failpoints)
        call_command("consume_telemetry", *options)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 70
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
