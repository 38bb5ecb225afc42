"""Watching costs: tokens that nobody gave a price for, and reported costs that the price table does not explain."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterable

import structlog

from ingestion.formats.event import Event
from ingestion.metrics import CALLS, COST, COST_MISMATCHES, TOKENS, UNPRICED_TOKENS, model_label
from ingestion.pricing import Prices, price

log = structlog.get_logger(__name__)

MOST_ALARMS = 1_000
SMALLEST_COST = 1e-6  # US dollars below which a relative difference says nothing: producers round


def count_calls(events: Iterable[Event]) -> None:
    """Count calls that were stored, with what they cost and the tokens they took."""
    costs: Counted[str] = Counted()
    tokens: Counted[str] = Counted()
    outcomes: Counted[str] = Counted()
    for event in events:
        costs[event.model] += event.cost_usd or 0.0  # type: ignore[assignment]
        tokens[event.model] += event.total_tokens or 0
        outcomes["failed" if event.error else "ok"] += 1
    for model, cost in costs.items():
        COST.labels(model_label.of(model)).inc(cost)
        TOKENS.labels(model_label.of(model)).inc(tokens[model])
    for outcome, calls in outcomes.items():
        CALLS.labels(outcome).inc(calls)


class CostWatch:
    """Counts by model, and raises the alarm once for every model.

    `tolerance` is the share of the table's cost by which a reported one may differ.
    """

    def __init__(self, prices: Prices, tolerance: float) -> None:
        self._prices = prices
        self._tolerance = tolerance
        self._alarmed: set[tuple[str, str, str]] = set()

    def see(self, events: Iterable[Event]) -> None:
        """Look at events that will be counted once: failed calls have no price to speak of."""
        for event in events:
            if event.error:
                continue
            if event.cost_usd is None:
                self._note_unpriced(event)
            elif event.cost_source == "reported" and self._is_mismatch(event, event.cost_usd):
                COST_MISMATCHES.labels(model_label.of(event.model)).inc()
                self._alarm("cost_mismatch", event, reported=event.cost_usd, computed=price(event, self._prices))

    def _note_unpriced(self, event: Event) -> None:
        UNPRICED_TOKENS.labels(model_label.of(event.model)).inc(event.total_tokens or 0)
        self._alarm("model_without_price", event, hint="manage.py prices add")

    def _is_mismatch(self, event: Event, reported: float) -> bool:
        computed = price(event, self._prices)
        if computed is None:
            return False
        return abs(reported - computed) > max(SMALLEST_COST, self._tolerance * computed)

    def _alarm(self, what: str, event: Event, **facts: object) -> None:
        key = (what, event.provider, event.model)
        if key not in self._alarmed and len(self._alarmed) < MOST_ALARMS:
            self._alarmed.add(key)
            log.warning(what, service=event.service, provider=event.provider, model=event.model, **facts)
