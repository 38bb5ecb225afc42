"""How far a long command has come: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

EVERY_SECONDS = 5.0


class Progress:
    """Shows a position that grows towards `total` (in `unit`; without a total it only counts) with a note beside it."""

    def __init__(
        self,
        title: str,
        total: float | None = None,
        unit: str = "",
        out: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self._now = title, total, now
        self._out = out or sys.stderr
        self._bar = None
        if self._out.isatty():
            self._bar = tqdm(desc=title, total=total, unit=unit, unit_scale=True, file=self._out, dynamic_ncols=True)
        self._begun = self._shown = now()

    def show(self, position: float, note: str) -> None:
        """Say where it is, unless it was said a moment ago."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(position - self._bar.n)
        elif self._now() - self._shown >= EVERY_SECONDS:
            self._shown = self._now()
            share = f"{min(position / self.total, 1):.0%}, " if self.total else ""
            print(f"{self.title}: {share}{note} after {self._shown - self._begun:.0f} s", file=self._out, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
