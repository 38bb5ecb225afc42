"""The limits that this installation's configuration sets for what comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from ingestion.formats.validation import Limits
from ingestion.metrics import PRICE_TABLE, SCRUB_FAILURES
from ingestion.pricing import Prices, read_table

log = structlog.get_logger(__name__)

STANDARD_TABLE = Path(__file__).resolve().parents[1] / "config" / "prices.yaml"

_latest: tuple[Any, Limits] | None = None


def limits_of(config: Any) -> Limits:
    """The limits of a whole configuration (`settings.SENTINEL`): always the same object for the same configuration,
    as it remembers what it has seen."""
    global _latest  # noqa: PLW0603 - requests ask for it one by one
    if _latest is None or _latest[0] is not config:
        pepper = config.security.token_pepper.get_secret_value().encode()
        _latest = (config, Limits.of(config.ingestion, pepper, _note_failure, _prices(config.ingestion.pricing)))
    return _latest[1]


def _prices(pricing: Any) -> Prices:
    """The price table in force; which one it is belongs into the log, because costs depend on it. PriceTableError."""
    path = pricing.table or STANDARD_TABLE
    prices = Prices(read_table(path))
    PRICE_TABLE.info({"digest": prices.digest})
    log.info("price_table", path=str(path), digest=prices.digest, models=len(prices))
    return prices


def _note_failure(error: Exception) -> None:
    """What was to be scrubbed is replaced as a whole. The error's own text could quote it, so only its kind is told."""
    SCRUB_FAILURES.labels(type(error).__name__).inc()
    log.warning("text_redacted", reason=type(error).__name__)
