"""Writing a batch of which the store refuses a part: find the bad rows, store the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ingestion.telemetry_store.contract import StoreUnavailable, WriteRefused

_Row = TypeVar("_Row")


class BatchRefused(Exception):
    """The store took none, or not all, of the rows because of some of them.

    `suspects` are the positions, within the rows that were sent, that the store complained about (maybe wrongly,
    maybe none). `blames_rows` is False where the store did not say that the rows are at fault.
    """

    def __init__(self, reason: str, suspects: Iterable[int] = (), *, blames_rows: bool = True) -> None:
        super().__init__(reason)
        self.suspects = frozenset(suspects)
        self.blames_rows = blames_rows


def write_salvaging(rows: Sequence[_Row], write: Callable[[Sequence[_Row]], None]) -> list[WriteRefused]:
    """Write what can be written, in pieces where need be; return the rows that were refused one by one.

    `write` stores all the rows it is given or raises BatchRefused; storing a row twice must do no harm. A row counts
    as refused only when it was refused alone. Raises StoreUnavailable where a batch of several rows is refused to the
    last one without a word about rows: that is a fault of the store, and no reason to give up the rows.
    """
    refused: list[WriteRefused] = []
    blamed = False
    pending = [(0, len(rows))] if rows else []
    while pending:
        start, end = pending.pop()
        try:
            write(rows[start:end])
        except BatchRefused as error:
            blamed |= error.blames_rows
            if end - start == 1:
                refused.append(WriteRefused(start, str(error)))
            else:
                pending.extend(reversed(list(_parts(start, end, error.suspects))))
    if len(rows) > 1 and len(refused) == len(rows) and not blamed:
        raise StoreUnavailable(f"refuses every row: {refused[0].reason}")
    return refused


def _parts(start: int, end: int, suspects: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Cut [start, end) around the suspects, or in the middle where there are none; parts are never empty."""
    cuts = {start + edge for suspect in suspects for edge in (suspect, suspect + 1)}
    inside = sorted(cut for cut in cuts if start < cut < end) or [(start + end) // 2]
    return zip([start, *inside], [*inside, end], strict=True)
