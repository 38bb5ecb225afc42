"""How the loops of the pure packages are compiled.

Both kinds are cached on disk and divide as NumPy does: a division by zero gives infinity or NaN, not an exception.
`inlined` is for the small steps of a hot loop. Such steps take records and the few arrays they need rather than whole
tables: for every array handed to a function that branches, references are counted, which costs more than its work.
"""

from __future__ import annotations

from numba import njit

compiled = njit(cache=True, error_model="numpy")
inlined = njit(cache=True, error_model="numpy", forceinline=True)
