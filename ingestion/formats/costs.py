"""The cost of events that do not say theirs."""

from __future__ import annotations

from ingestion.formats import validation
from ingestion.formats.event import Event
from ingestion.formats.validation import Limits
from ingestion.pricing.prices import price


def fill_cost(event: Event, limits: Limits) -> None:
    """Price an event that has no cost, where its model has a price; for events that `native.decode` did not make."""
    if event.cost_usd is not None or not limits.prices:
        return
    cost = price(event, limits.prices)
    if cost is None:
        return
    if cost > limits.max_cost_usd:
        cost = limits.max_cost_usd
        event.marks = (*event.marks, validation.CLAMPED_COST)
    event.cost_usd, event.cost_source = cost, "table"
