"""What an event says in words: metadata as text labels, and why a call failed."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from ingestion.formats import validation
from ingestion.formats.cleaning import scrubbed_text
from ingestion.formats.refusals import refusal
from ingestion.formats.validation import Limits
from ingestion.privacy import DEFAULT, REDACTED, is_sensitive

MAX_LABELS = 64
MAX_KEY_LENGTH = 128
MAX_VALUE_LENGTH = 1024
MAX_FAILURES = 16
MAX_FAILURE_LENGTH = 500
UNSPECIFIED = "unspecified"

_decode = msgspec.json.Decoder(dict[str, Any] | None).decode


def labels(metadata: dict[str, Any], limits: Limits, marks: list[str]) -> dict[str, str]:
    """Metadata with scalars as text, sensitive values masked and private data scrubbed; nested values and surplus are
    dropped and marked."""
    return metadata if _need_no_repair(metadata, limits) else _repaired(metadata, limits, marks)


def labels_of(metadata: msgspec.Raw, limits: Limits, marks: list[str]) -> dict[str, str]:
    """The same of metadata as JSON, "" for none. Texts that recur are only looked up; their labels are shared.

    Raises Rejection for what is no object.
    """
    text = bytes(metadata)
    known = limits.labels.get(text)
    if known is not None:
        return known
    given = _read(text)
    if not _need_no_repair(given, limits):
        return _repaired(given, limits, marks)
    limits.remember_labels(text, given)
    return given


def _read(text: bytes) -> dict[str, Any]:
    try:
        return _decode(text or b"{}") or {}
    except msgspec.ValidationError as error:
        raise refusal(msgspec.ValidationError(f"{error} - at `$.metadata`"), text) from None
    except (ValueError, RecursionError) as error:
        raise refusal(error, text) from None


def _need_no_repair(metadata: dict[str, Any], limits: Limits) -> bool:
    return _are_plain(tuple(metadata), limits.sanitize_patterns) and all(
        _is_plain(value, limits) for value in metadata.values()
    )


def _is_plain(value: Any, limits: Limits) -> bool:
    return type(value) is str and len(value) <= MAX_VALUE_LENGTH and limits.scrubber.is_clean(value)


@lru_cache(maxsize=4096)
def _are_plain(keys: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Whether keys need no repair; an application sends the same few sets of keys all the time."""
    return len(keys) <= MAX_LABELS and not any(
        len(key) > MAX_KEY_LENGTH or is_sensitive(key, patterns) or DEFAULT.scrub(key) != key for key in keys
    )


def _repaired(metadata: dict[str, Any], limits: Limits, marks: list[str]) -> dict[str, str]:
    texts = {
        limits.scrubber.scrub(key): REDACTED if is_sensitive(key, limits.sanitize_patterns) else _as_text(value)
        for key, value in metadata.items()
        if value is not None
    }
    kept = {
        key: text if text == REDACTED else scrubbed_text(text, MAX_VALUE_LENGTH, limits)
        for key, text in islice(texts.items(), MAX_LABELS)
        if text is not None and len(key) <= MAX_KEY_LENGTH
    }
    if len(kept) < len(texts):
        marks.append(validation.METADATA_DROPPED)
    if any(len(text or "") > MAX_VALUE_LENGTH for text in texts.values()):
        marks.append(validation.TRUNCATED)
    return kept


def _as_text(value: Any) -> str | None:
    """A scalar as JSON would write it; None for what is not a scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float | str) else None


def failure_texts(error: Any, errors: Any, limits: Limits) -> list[str]:
    """The texts of `error` and `errors` (each text, list of texts or true), each once, without secrets, cut short."""
    texts: dict[str, None] = {}
    length = min(MAX_FAILURE_LENGTH, limits.max_text_length)
    for given in (error, errors):
        for text in (given,) if isinstance(given, str) else given if isinstance(given, list) else ():
            texts[scrubbed_text(text, length, limits)] = None
    texts.pop("", None)
    if not texts and (error is True or errors is True):
        return [UNSPECIFIED]
    return list(texts)[:MAX_FAILURES]
