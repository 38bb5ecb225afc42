"""Original messages that are kept (dead letters): without prompt and response texts, without known secrets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ingestion.privacy.keys import REDACTED, is_sensitive, redact
from ingestion.privacy.scrubber import DEFAULT, Scrubber

REMOVED = "[removed]"
TEXT_WORDS = ("prompt", "response", "completion", "message", "content", "text", "input", "output", "embedding")
# The same keys in what is JSON no more, and OTLP's values, whose keys stand elsewhere; the texts run to their closing
# quote or, cut off, to the end.
_WORDS = "|".join((*TEXT_WORDS, "stringvalue"))
BROKEN_TEXT = re.compile(rf'("[^"\\]{{0,64}}(?:{_WORDS})[^"\\]{{0,64}}"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.I)
BROKEN_VECTOR = re.compile(r'("embedding"\s*:\s*)\[[^\]]*\]?', re.I)


# Members of an attribute's value in OTLP that hold no text.
NUMBERS = {"intValue", "doubleValue", "boolValue"}
# Characters beyond which any other value of an attribute is taken for a text, whatever its name.
LONGEST_LABEL = 256


# A secret that the limit would cut in half is still whole when it is looked for.
MARGIN = 4_096
SHORTEST_PRIVATE_NUMBER = 10**8


def scrub_payload(payload: bytes, patterns: tuple[str, ...], max_bytes: int, scrubber: Scrubber = DEFAULT) -> bytes:
    """At most `max_bytes` of the payload without texts, secrets and private data: as JSON where it still parses, else
    masked.

    Numbers stay, so that a message refused for a number can be understood, unless they are private data themselves.
    """
    cleaning = Cleaning(patterns, scrubber)
    try:
        scrubbed = json.dumps(cleaning.value(json.loads(payload)), separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        scrubbed = cleaning.masked(payload[: max_bytes + MARGIN])
    return scrubbed[:max_bytes]


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What a payload is cleaned by: sensitive keys, and what private data looks like."""

    patterns: tuple[str, ...]
    scrubber: Scrubber

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            if isinstance(name := value.get("key"), str) and isinstance(value.get("value"), dict):
                return {"key": self.text(name), "value": self._attribute(name, value["value"])}
            return {self.text(key): self._member(key, member) for key, member in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, str):
            return self.text(value)
        return self._number(value)

    def text(self, text: str) -> str:
        return self.scrubber.scrub(redact(text, self.patterns))

    def _number(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or value < SHORTEST_PRIVATE_NUMBER:
            return value
        written = str(value)
        scrubbed = self.scrubber.scrub(written)
        return value if scrubbed == written else scrubbed

    def _member(self, key: str, value: Any) -> Any:
        if is_sensitive(key, self.patterns):
            return REDACTED
        if key == "metadata":
            return self._labels(value)
        if key == "body" and isinstance(value, dict):  # of a log record of OTLP: what was said
            return REMOVED
        if isinstance(value, str | list) and any(word in key.lower() for word in TEXT_WORDS):
            return REMOVED
        return self.value(value)

    def _attribute(self, name: str, value: dict[str, Any]) -> Any:
        """The value of an attribute of OTLP, as `{"stringValue": …}`: numbers stay, what may be a text does not."""
        if is_sensitive(name, self.patterns):
            return REDACTED
        if value.keys() <= NUMBERS:
            return self.value(value)
        is_text = any(word in name.lower() for word in TEXT_WORDS) or len(str(value)) > LONGEST_LABEL
        return REMOVED if is_text else self.value(value)

    def _labels(self, value: Any) -> Any:
        """Metadata is labels, not text: `prompt_version` stays."""
        if not isinstance(value, dict):
            return self.value(value)
        return {
            self.text(key): REDACTED if is_sensitive(key, self.patterns) else self.value(label)
            for key, label in value.items()
        }

    def masked(self, payload: bytes) -> bytes:
        # Latin-1 maps bytes to characters one to one, so what is not UTF-8 survives unchanged.
        text = payload.decode("latin-1")
        text = BROKEN_VECTOR.sub(rf'\1"{REMOVED}"', text)
        return self.text(BROKEN_TEXT.sub(rf'\1"{REMOVED}"', text)).encode("latin-1", "replace")
