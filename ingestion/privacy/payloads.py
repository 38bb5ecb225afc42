"""Original messages that are kept (dead letters): without prompt and response texts, without known secrets."""

from __future__ import annotations

import json
import re
from typing import Any

from ingestion.privacy.keys import REDACTED, is_sensitive, redact

REMOVED = "[removed]"
TEXT_WORDS = ("prompt", "response", "completion", "message", "content", "text", "input", "output", "embedding")
# The same keys in what is JSON no more; the texts run to their closing quote or, cut off, to the end.
BROKEN_TEXT = re.compile(rf'("[^"\\]{{0,64}}(?:{"|".join(TEXT_WORDS)})[^"\\]{{0,64}}"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.I)


def scrub_payload(payload: bytes, patterns: tuple[str, ...], max_bytes: int) -> bytes:
    """At most `max_bytes` of the payload without texts and secrets: as JSON where it still parses, else masked.

    Numbers stay, so that a message refused for a number can be understood.
    """
    try:
        scrubbed = json.dumps(_scrubbed(json.loads(payload), patterns), separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        scrubbed = _masked(payload[:max_bytes], patterns)
    return scrubbed[:max_bytes]


def _scrubbed(value: Any, patterns: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _scrubbed_member(key, member, patterns) for key, member in value.items()}
    if isinstance(value, list):
        return [_scrubbed(item, patterns) for item in value]
    return redact(value, patterns) if isinstance(value, str) else value


def _scrubbed_member(key: str, value: Any, patterns: tuple[str, ...]) -> Any:
    if is_sensitive(key, patterns):
        return REDACTED
    if key == "metadata":
        return _scrubbed_labels(value, patterns)
    if isinstance(value, str | list) and any(word in key.lower() for word in TEXT_WORDS):
        return REMOVED
    return _scrubbed(value, patterns)


def _scrubbed_labels(value: Any, patterns: tuple[str, ...]) -> Any:
    """Metadata is labels, not text: `prompt_version` stays."""
    if not isinstance(value, dict):
        return _scrubbed(value, patterns)
    return {
        key: REDACTED if is_sensitive(key, patterns) else _scrubbed(label, patterns) for key, label in value.items()
    }


def _masked(payload: bytes, patterns: tuple[str, ...]) -> bytes:
    # Latin-1 maps bytes to characters one to one, so what is not UTF-8 survives unchanged.
    text = payload.decode("latin-1")
    return redact(BROKEN_TEXT.sub(rf'\1"{REMOVED}"', text), patterns).encode("latin-1")
