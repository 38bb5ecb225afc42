"""What is different between two price tables, and whether it changes what was already counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ingestion.pricing.table import Rate, Table

Key = tuple[str, str, date]


@dataclass(frozen=True, slots=True)
class Difference:
    """A price that is in only one of two tables, or another in each."""

    provider: str
    model: str
    effective_from: date
    before: Rate | None
    after: Rate | None

    def is_retroactive(self, today: date) -> bool:
        """Whether calls of the past cost something else by the new table: then a replay is no repetition."""
        return self.effective_from <= today


def differences(before: Table, after: Table) -> list[Difference]:
    """By provider, model and day."""
    old, new = _rates(before), _rates(after)
    return [
        Difference(*key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _rates(table: Table) -> dict[Key, Rate]:
    return {
        (entry.provider, model, rate.effective_from): rate
        for entry in table.prices
        for model in entry.models
        for rate in entry.history
    }
