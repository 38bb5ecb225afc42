"""JSON in and out of the API (out by msgspec: several times faster, NaN becomes null), and what OPTIONS says."""

from __future__ import annotations

from typing import Any

import msgspec
from rest_framework.exceptions import ParseError
from rest_framework.metadata import BaseMetadata
from rest_framework.parsers import JSONParser
from rest_framework.renderers import BaseRenderer


def _plain(value: Any) -> Any:
    """What msgspec does not know by itself: subclasses and lazy strings, as DRF makes them."""
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list | tuple):
        return list(value)
    return str(value)


_encoder = msgspec.json.Encoder(enc_hook=_plain)


class JsonRenderer(BaseRenderer):
    """Renders plain data, aware datetimes (UTC as `Z`) and UUIDs to UTF-8 JSON."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: dict[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else _encoder.encode(data)


class JsonParser(JSONParser):
    """DRF's parser, for which a body of a hundred thousand brackets is a bad request and not a crash."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: dict[str, Any] | None = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deep.") from None


class Methods(BaseMetadata):
    """What OPTIONS answers beside the header Allow; the schema says what each method takes and gives."""

    def determine_metadata(self, request: Any, view: Any) -> dict[str, list[str]]:
        return {"methods": view.allowed_methods}
