"""Tables whose rows lie side by side in memory.

Whoever needs a row of one of them needs those of the others too. Memory brings what lies together several times faster
than as many bytes from all over the place, and with thousands of rows, of which no cache holds all, that is what an
event costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LINE = 64  # bytes that memory brings at once
_ALIGNED = 8  # bytes: no number crosses a line


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def side_by_side(rows: int, inner: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> dict[str, NDArray[Any]]:
    """Empty tables of so many rows, by name, in the order of `inner`: the dtype and the shape of one row of each.

    Row i of a table follows row i of the one before it. Memory is taken when a row is first written, not before.
    """
    formats = [np.dtype((kind, shape)) for kind, shape in inner.values()]
    offsets, end = [], 0
    for kind in formats:
        offsets.append(end)
        end += _rounded(kind.itemsize, _ALIGNED)
    layout = {"names": list(inner), "formats": formats, "offsets": offsets, "itemsize": _rounded(end, _LINE)}
    block: Any = np.zeros(rows, np.dtype(layout))  # type: ignore[call-overload]
    return {name: block[name] for name in inner}


def extended(tables: Mapping[str, NDArray[Any]], rows: int, used: int) -> dict[str, NDArray[Any]]:
    """Longer tables, side by side, that begin with the first `used` rows of the given ones.

    What was never used is not copied: it would take memory from then on.
    """
    longer = side_by_side(rows, {name: (table.dtype, table.shape[1:]) for name, table in tables.items()})
    for name, table in tables.items():
        longer[name][:used] = table[:used]
    return longer


def bytes_of(tables: Iterable[NDArray[Any]]) -> int:
    """The bytes that one row of such tables takes from the first table to the end of the last."""
    return sum(_rounded(table.nbytes // len(table), _ALIGNED) for table in tables)
