"""What an event says in words: metadata as text labels, and why a call failed."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import Any

from ingestion.formats import validation
from ingestion.formats.cleaning import scrubbed_text
from ingestion.formats.validation import Limits
from ingestion.privacy import DEFAULT, REDACTED, is_sensitive

MAX_LABELS = 64
MAX_KEY_LENGTH = 128
MAX_VALUE_LENGTH = 1024
MAX_FAILURES = 16
MAX_FAILURE_LENGTH = 500
UNSPECIFIED = "unspecified"


def labels(metadata: dict[str, Any], limits: Limits, marks: list[str]) -> dict[str, str]:
    """Metadata with scalars as text, sensitive values masked and private data scrubbed; nested values and surplus are
    dropped and marked."""
    items = tuple(metadata.items())
    try:
        if items in limits.clean:
            return metadata
    except TypeError:  # a nested value
        return _repaired(metadata, limits, marks)
    if _are_plain(tuple(metadata), limits.sanitize_patterns) and all(
        _is_plain(value, limits) for value in metadata.values()
    ):
        limits.remember(items)
        return metadata
    return _repaired(metadata, limits, marks)


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
