"""What telemetry may hold: the limits, the codes of refusals and of repairs."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from ingestion.pricing.prices import NO_PRICES, Prices
from ingestion.privacy import DEFAULT, Policy, Scrubber

# Codes of refusals. A refused message goes to the dead letters, or into the answer of the HTTP API.
INVALID_JSON = "invalid_json"
INVALID_TEXT = "invalid_text"
NOT_AN_OBJECT = "not_an_object"
ARRAY = "array"
EMPTY = "empty"
TOO_DEEP = "too_deep"
MISSING = "missing"
WRONG_TYPE = "wrong_type"
NOT_FINITE = "not_finite"
NEGATIVE = "negative"
OUT_OF_RANGE = "out_of_range"
BAD_NAME = "bad_name"
BAD_TIMESTAMP = "bad_timestamp"
INVALID = "invalid"
FOREIGN_SERVICE = "foreign_service"

REJECTION_CODES = frozenset(
    {
        INVALID_JSON,
        INVALID_TEXT,
        NOT_AN_OBJECT,
        ARRAY,
        EMPTY,
        TOO_DEEP,
        MISSING,
        WRONG_TYPE,
        NOT_FINITE,
        NEGATIVE,
        OUT_OF_RANGE,
        BAD_NAME,
        BAD_TIMESTAMP,
        INVALID,
        FOREIGN_SERVICE,
    }
)

# Marks: what was repaired in an event that was accepted.
CLAMPED_LATENCY = "clamped_latency"
CLAMPED_TOKENS = "clamped_tokens"
CLAMPED_COST = "clamped_cost"
FUTURE = "future"
TOTAL_CORRECTED = "total_corrected"
TRUNCATED = "truncated"
METADATA_DROPPED = "metadata_dropped"
NUL_REPLACED = "nul_replaced"
EMBEDDING_DROPPED = "embedding_dropped"

MARKS = frozenset(
    {
        CLAMPED_LATENCY,
        CLAMPED_TOKENS,
        CLAMPED_COST,
        FUTURE,
        TOTAL_CORRECTED,
        TRUNCATED,
        METADATA_DROPPED,
        NUL_REPLACED,
        EMBEDDING_DROPPED,
    }
)


MOST_REMEMBERED = 50_000
MOST_LABELS_REMEMBERED = 10_000
LONGEST_REMEMBERED = 1_024  # bytes


class Rejection(Exception):
    """Telemetry that cannot be used: a stable code, the field (dotted, "" for the whole message), a sentence."""

    def __init__(self, code: str, field: str, detail: str) -> None:
        super().__init__(code, field, detail)
        self.code = code
        self.field = field
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}" if self.field else self.detail

    def kept(self) -> Rejection:
        """Itself without where it was raised: those frames hold what was being read, and whoever collects it."""
        self.__traceback__ = self.__context__ = None
        return self


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that a valid value is brought within (clamped and marked), and what of the text is kept."""

    min_latency_ms: float = 0.1
    max_latency_ms: float = 300_000.0
    max_tokens: int = 100_000
    max_cost_usd: float = 100.0
    max_future_ms: int = 300_000
    max_text_length: int = 10_000
    capture_text: bool = False
    sanitize_patterns: tuple[str, ...] = ("password", "api_key", "secret")
    scrubber: Scrubber = DEFAULT
    prices: Prices = NO_PRICES
    clean: set[Hashable] = field(default_factory=set, init=False, compare=False, repr=False)
    """Combinations of values that were found to need no change under these limits: what recurs is only looked up."""

    labels: dict[bytes, dict[str, str]] = field(default_factory=dict, init=False, compare=False, repr=False)
    """The labels of metadata, as JSON, that need no change. They are shared by events and must not be changed."""

    def remember(self, values: Hashable) -> None:
        """Note values as clean; beyond MOST_REMEMBERED all are forgotten, what recurs is soon back."""
        if len(self.clean) >= MOST_REMEMBERED:
            self.clean.clear()
        self.clean.add(values)

    def remember_labels(self, text: bytes, labels: dict[str, str]) -> None:
        """Note the labels of a text that is not longer than what recurs is."""
        if len(text) <= LONGEST_REMEMBERED:
            if len(self.labels) >= MOST_LABELS_REMEMBERED:
                self.labels.clear()
            self.labels[text] = labels

    @classmethod
    def of(
        cls,
        ingestion: Any,
        key: bytes = b"",
        scrub_failed: Callable[[Exception], None] = lambda _: None,
        prices: Prices = NO_PRICES,
    ) -> Limits:
        """The limits that the configuration's section `ingestion` sets.

        `key` is the key of digests that replace private data, `scrub_failed` hears of each text that was replaced as a
        whole, `prices` are for calls that do not say what they cost. Raises ValueError where values are to be hashed
        and there is no key.
        """
        validation, parsing, privacy = ingestion.validation, ingestion.parsing, ingestion.privacy
        policy = Policy(privacy.action, privacy.actions, privacy.patterns, key, validation.enable_pii_detection)
        return cls(
            min_latency_ms=validation.min_latency_ms,
            max_latency_ms=validation.max_latency_ms,
            max_tokens=validation.max_tokens,
            max_cost_usd=validation.max_cost_usd,
            max_future_ms=int(validation.max_future_seconds * 1000),
            max_text_length=parsing.max_text_length,
            capture_text=privacy.capture_text,
            sanitize_patterns=tuple(parsing.sanitize_patterns) if parsing.enable_sanitization else (),
            scrubber=Scrubber(policy, scrub_failed),
            prices=prices,
        )
