"""Fetching rows of tables into the caches before they are needed.

With thousands of series every event needs rows that no cache holds; a processor waits some hundred nanoseconds for each
of them, unless it is told early which ones come next. Such a hint changes nothing but the time.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from baselines.stats.compiled import inlined

LINE = 64  # bytes that a cache fetches at once
_FOR_WRITING, _KEEP_IN_ALL_CACHES, _DATA = 1, 3, 1


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(typing_context: Any, table: Any, row: Any, offset: Any) -> Any:
    """Hint that the line at a byte offset of `table[row]` is needed soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, array.strides)[0]  # type: ignore[no-untyped-call]
        place = builder.add(builder.mul(arguments[1], stride), arguments[2])
        number = ir.IntType(32)
        pointer = builder.inttoptr(builder.add(builder.ptrtoint(array.data, place.type), place), cgutils.voidptr_t)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        hint = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0"
        )
        builder.call(hint, [pointer, number(_FOR_WRITING), number(_KEEP_IN_ALL_CACHES), number(_DATA)])
        return context.get_dummy_value()

    return types.void(table, types.intp, types.intp), generate


@inlined
def fetch(table: Any, row: int, size: int, start: int = 0) -> None:
    """Hint that `size` bytes of `table[row]`, from byte `start` on, are needed soon. The row has to exist."""
    for offset in range(start, start + size - 1, LINE):
        _prefetch(table, row, offset)  # type: ignore[call-arg]
    _prefetch(table, row, start + size - 1)  # type: ignore[call-arg]  # rows do not begin where lines do
