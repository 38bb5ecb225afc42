"""Lists without an end: every row of a range, one JSON document a line, never more than a page of it in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from types import SimpleNamespace
from typing import Any

import msgspec
from django.http import StreamingHttpResponse
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings

NDJSON = "application/x-ndjson"
ROWS_AT_ONCE = 1000

Rows = list[dict[str, Any]]
Page = Callable[[int, str | None], tuple[Rows, str | None]]
"""From a number of rows and a cursor to that many rows and the cursor of what follows."""

_encoder = msgspec.json.Encoder()


class LinesRenderer(BaseRenderer):
    """Stands for lines where client and server agree on a type; the list itself writes them."""

    media_type = NDJSON
    format = "ndjson"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: dict[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else _encoder.encode_lines([data])


class ByAcceptAlone(DefaultContentNegotiation):
    """`format` is a parameter like any other: one that is wrong is a 400, not a 404."""

    settings = SimpleNamespace(URL_FORMAT_OVERRIDE=None)


class Streams:
    """What a view of a list needs in order to be asked for lines."""

    renderer_classes = [*api_settings.DEFAULT_RENDERER_CLASSES, LinesRenderer]
    content_negotiation_class = ByAcceptAlone


def wants_lines(request: Request, query: dict[str, Any]) -> bool:
    """By its parameter `format`, else by its header Accept."""
    return bool(query.get("format", request.accepted_renderer.format) == LinesRenderer.format)


def lines(page: Page, cursor: str | None, most: int | None = None) -> StreamingHttpResponse:
    """All rows from `cursor` on, `most` at most. What goes wrong with the first page is raised, not streamed.

    By pages and their cursors instead of one long reading: a slow client holds no transaction open.
    """
    pages = _pages(page, cursor, most)
    first = next(pages)
    content = (_encoder.encode_lines(rows) for rows in chain([first], pages) if rows)
    return StreamingHttpResponse(content, content_type=NDJSON)


def _pages(page: Page, cursor: str | None, most: int | None) -> Iterator[Rows]:
    left = most
    while True:
        rows, cursor = page(ROWS_AT_ONCE if left is None else min(left, ROWS_AT_ONCE), cursor)
        yield rows
        left = None if left is None else left - len(rows)
        if cursor is None or left == 0:
            return
