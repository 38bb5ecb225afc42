"""Embeddings of native events: kept as the JSON they came in, because few of them are ever read.

They go where events are judged, and no further: neither the telemetry store nor dead letters nor logs hold them.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

NO_EMBEDDING = msgspec.Raw()
MAX_BYTES = 131_072  # 4096 numbers as they are usually written
_OF_NUMBERS = b"0123456789+-.eE, \t\r\n"

_read = msgspec.json.Decoder(list[float]).decode


def first_given(*candidates: object) -> bytes | None:
    """The first of some JSON texts that is neither absent nor null, b"" if there is none; None if it is no embedding.

    A list that holds texts, or more than MAX_BYTES, is none: what is passed on unread must not hide anything.
    """
    for candidate in candidates:
        text = bytes(candidate) if isinstance(candidate, msgspec.Raw) else b""
        if text in (b"", b"null"):
            continue
        is_list = text[:1] == b"[" and text[-1:] == b"]" and len(text) <= MAX_BYTES
        return text if is_list and not text[1:-1].translate(None, _OF_NUMBERS) else None
    return b""


def vector(text: bytes) -> NDArray[np.float64]:
    """The numbers of an embedding, float64[dimension]; none if one of them is beyond what a number can be."""
    try:
        return np.array(_read(text), np.float64)
    except msgspec.DecodeError:
        return np.zeros(0)
