"""Why a native message was refused: from the decoder's errors to a code, a field and a sentence for people."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from ingestion.formats import validation
from ingestion.formats.validation import Rejection

ARRAY_HINT = (
    "is an array; a message on the topic holds one event. Send arrays to POST /api/v1/events, "
    "or read the topic with the `normalize` role"
)
JSON_NAMES = {
    "str": "text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
LOCATION = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>.*)`)?", re.DOTALL)
MISSING_FIELD = re.compile(r"Object missing required field `(.+)`")
WRONG_TYPE = re.compile(r"Expected `(.+)`, got `(.+)`")
TOO_LONG = re.compile(r"Expected `str` of length <= (\d+)")
BELOW = re.compile(r"Expected `\w+` >= ")
ABOVE = re.compile(r"Expected `\w+` <= (.+)|(?:Integer value|Number) out of range")
INDEX = re.compile(r"\[\.\.\.\]")


def refusal(error: Exception, payload: bytes) -> Rejection:
    """The rejection that explains a decoder's error; `payload` is looked at again where the error is vague."""
    if isinstance(error, msgspec.ValidationError):
        return _wrong_value(str(error))
    if isinstance(error, RecursionError):
        return Rejection(validation.TOO_DEEP, "", "is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Rejection(validation.INVALID_TEXT, "", "holds bytes that are not UTF-8")
    return _malformed(error, payload)


def too_long(error: Exception) -> str | None:
    """The field whose text the decoder found too long, if that is what the error says."""
    match = LOCATION.fullmatch(str(error))
    return _field(match) if match and TOO_LONG.fullmatch(match["what"]) else None


def _field(match: re.Match[str]) -> str:
    return INDEX.sub("", match["path"] or "").removeprefix("$").removeprefix(".")


def _wrong_value(message: str) -> Rejection:
    match = LOCATION.fullmatch(message)
    what, field = (match["what"], _field(match)) if match else (message, "")
    if missing := MISSING_FIELD.fullmatch(what):
        return Rejection(validation.MISSING, missing[1], "is required")
    if types := WRONG_TYPE.fullmatch(what):
        return _wrong_type(field, types[1], types[2])
    if BELOW.match(what):
        return Rejection(validation.NEGATIVE, field, "must not be negative")
    if ABOVE.match(what):
        return Rejection(validation.OUT_OF_RANGE, field, "is a number too large to hold")
    if what.startswith("Expected `str` of length"):
        return Rejection(validation.BAD_NAME, field, "must have 1 to 128 characters")
    return Rejection(validation.INVALID, field, what)


def _wrong_type(field: str, expected: str, got: str) -> Rejection:
    if not field:
        if got == "array":
            return Rejection(validation.ARRAY, "", ARRAY_HINT)
        return Rejection(validation.NOT_AN_OBJECT, "", f"must be a JSON object, not {JSON_NAMES.get(got, got)}")
    allowed = " or ".join(JSON_NAMES.get(name, name) for name in expected.split(" | ") if name != "null")
    return Rejection(validation.WRONG_TYPE, field, f"must be {allowed}, not {JSON_NAMES.get(got, got)}")


def _malformed(error: Exception, payload: bytes) -> Rejection:
    if not payload.strip():
        return Rejection(validation.EMPTY, "", "is empty")
    encoding = json.detect_encoding(payload)
    if not encoding.startswith("utf-8"):
        return Rejection(validation.INVALID_TEXT, "", f"must be UTF-8, not {encoding}")
    try:
        field = _not_finite(json.loads(payload))  # more tolerant than RFC 8259: takes NaN and lone surrogates
    except (ValueError, RecursionError) as reason:
        return _unreadable(error, reason)
    if field is not None:
        return Rejection(validation.NOT_FINITE, field, "must be a finite number (JSON has no NaN and no Infinity)")
    return Rejection(validation.INVALID_TEXT, "", "holds half a surrogate pair, which is no character")


def _unreadable(error: Exception, reason: Exception) -> Rejection:
    if isinstance(reason, RecursionError):
        return Rejection(validation.TOO_DEEP, "", "is nested too deeply")
    if isinstance(reason, UnicodeDecodeError):
        return Rejection(validation.INVALID_TEXT, "", "holds bytes that are not UTF-8")
    return Rejection(validation.INVALID_JSON, "", f"is not JSON: {error}")


def _not_finite(value: Any) -> str | None:
    """Dotted path of the first NaN or infinity, "" for the value itself, None if all numbers are finite."""
    waiting = [("", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return path
        if isinstance(item, dict):
            waiting.extend((f"{path}.{key}".lstrip("."), member) for key, member in item.items())
        elif isinstance(item, list):
            waiting.extend((path, member) for member in item)
    return None
