"""The body of a request, decompressed piece by piece: however small it arrives, no more than the limit is ever held."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType

PIECE = 1 << 16
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class TooMuch(ValueError):
    """There is more than the limit."""


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class LengthRequired(APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_required"
    default_detail = "This server takes no chunked bodies; send Content-Length."


def read_body(request: Any, limit: int, setting: str) -> bytes:
    """The decompressed body of a request, of `limit` bytes at most (as `setting` says). Raises the API's exceptions."""
    try:
        return _read(request, limit)
    except TooMuch:
        raise BodyTooLarge(f"The decompressed body may have {limit} bytes at most ({setting}).") from None


def _read(request: Any, limit: int) -> bytes:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    pieces = _pieces(_reader(request))
    if encoding == "identity":
        return _joined(pieces, limit)
    if encoding not in WINDOW_BITS:
        raise UnsupportedMediaType(encoding, detail=f'Content-Encoding "{encoding}" is not known; use gzip.')
    try:
        return inflated(pieces, WINDOW_BITS[encoding], limit)
    except zlib.error as error:
        raise ParseError(f"The body is not {encoding}: {error}.") from None


def _reader(request: Any) -> Callable[[int], bytes]:
    """What reads the body. Django takes a chunked one for empty: that is read from the server, which ends it."""
    environ = request.META
    if "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower() or environ.get("CONTENT_LENGTH"):
        return request.read  # type: ignore[no-any-return]
    if not environ.get("wsgi.input_terminated"):
        raise LengthRequired
    return environ["wsgi.input"].read  # type: ignore[no-any-return]


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while True:
        try:
            piece = read(PIECE)
        except OSError as error:
            raise ParseError(f"The body ended too early: {error}.") from None
        if not piece:
            return
        yield piece


def _joined(pieces: Iterator[bytes], limit: int) -> bytes:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > limit:
            raise TooMuch
    return bytes(body)


def inflated(pieces: Iterator[bytes], window_bits: int, limit: int) -> bytes:
    """Decompressed pieces of one or more members. Raises zlib.error, TooMuch as soon as there is too much."""
    body = bytearray()
    engine = zlib.decompressobj(window_bits)
    begun = False
    for piece in pieces:
        rest = piece
        while rest:
            if engine.eof:
                engine = zlib.decompressobj(window_bits)
            begun = True
            body += engine.decompress(rest, limit + 1 - len(body))
            if len(body) > limit:
                raise TooMuch
            rest = engine.unused_data if engine.eof else engine.unconsumed_tail
    if begun and not engine.eof:
        raise zlib.error("it ends too early")
    return bytes(body)
