"""The price of a call: looked up by provider, model and the time of the event, never by the time of asking.

A replay of old events therefore costs what they cost then, as long as the table only grows: a new price is a new line
with its day, see docs/cost.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, time
from hashlib import sha256

import msgspec

from ingestion.formats.event import Event
from ingestion.pricing.models import spellings
from ingestion.pricing.table import Entry, Rate, Table, Tier

PER_TOKEN = 1e-6
MOST_REMEMBERED = 10_000

Schedule = tuple[tuple[int, ...], tuple[Rate, ...]]
"""From when (nanoseconds since 1970) which rate is in force."""
NEVER: Schedule = ((), ())


class Prices:
    """A table made ready for looking up. Threads may share it."""

    def __init__(self, table: Table | None = None) -> None:
        self._listed: dict[str, dict[str, list[Rate]]] = {}
        self._providers: dict[str, str] = {}
        self._known: dict[tuple[str, str], Schedule] = {}
        self.digest = sha256(msgspec.json.encode(table)).hexdigest()[:16] if table else ""
        """Tells tables apart."""
        if table:
            self._list(table.prices)
            self._name(table.aliases)

    def _list(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            models = self._listed.setdefault(entry.provider.lower(), {})
            for model in entry.models:
                models.setdefault(model.lower(), []).extend(entry.history)

    def _name(self, aliases: dict[str, tuple[str, ...]]) -> None:
        self._providers = {name: name for name in self._listed}
        for provider, names in aliases.items():
            self._providers |= {name.lower(): provider.lower() for name in names}

    def __len__(self) -> int:
        """How many names and beginnings of names have a price."""
        return sum(map(len, self._listed.values()))

    def __bool__(self) -> bool:
        return bool(self._listed)

    def rate(self, provider: str, model: str, timestamp_ns: int) -> Rate | None:
        """The rate of a model at a time; None if it has none, or had none yet."""
        schedule = self._known.get((provider, model))
        if schedule is None:
            schedule = self._remember(provider, model)
        starts, rates = schedule
        place = bisect_right(starts, timestamp_ns)
        return rates[place - 1] if place else None

    def provider_of(self, model: str) -> str:
        """The provider that lists a model; "" if nobody does, or several: a guess would look like knowledge."""
        names = spellings(model)
        found = [provider for provider, models in self._listed.items() if _rates(models, names)]
        return found[0] if len(found) == 1 else ""

    def _remember(self, provider: str, model: str) -> Schedule:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()  # begin again: what recurs is soon back
        found = self._find(provider.strip().lower(), model)
        rates = tuple(sorted(found, key=lambda rate: rate.effective_from))
        self._known[provider, model] = schedule = (tuple(map(_start_ns, rates)), rates) if rates else NEVER
        return schedule

    def _find(self, provider: str, model: str) -> list[Rate]:
        """The rates of a provider's model. Where the provider is not known, those of whoever lists the name; if
        several do at different prices, nobody's: a guess would look like knowledge."""
        names = spellings(model)
        if provider in self._providers:
            return _rates(self._listed.get(self._providers[provider], {}), names)
        offers = [rates for models in self._listed.values() if (rates := _rates(models, names))]
        return offers[0] if offers and all(offer == offers[0] for offer in offers) else []

    def cost(
        self,
        provider: str,
        model: str,
        timestamp_ns: int,
        prompt: int | None,
        completion: int | None,
        cached: int | None = None,
        cache_write: int | None = None,
        reasoning: int | None = None,
    ) -> float | None:
        """US dollars of a call; None where the model has no price, or tokens that would cost something are unknown.

        `prompt` includes the cached tokens and those written to the cache, `completion` the reasoning ones, as in
        OpenTelemetry's conventions; where the parts are more than the whole they were counted beside it.
        """
        rate: Rate | Tier | None = self.rate(provider, model, timestamp_ns)
        if rate is None or prompt is None or (completion is None and rate.output):
            return None
        if rate.tiers:  # type: ignore[union-attr]
            rate = _tier(rate, prompt)  # type: ignore[arg-type]
        if not (cached or cache_write or reasoning):
            return (prompt * rate.input + (completion or 0) * rate.output) * PER_TOKEN
        return _detailed(rate, prompt, completion or 0, (cached or 0, cache_write or 0, reasoning or 0))


def _rates(models: dict[str, list[Rate]], names: list[str]) -> list[Rate]:
    """The rates listed for the first of the names that is listed: as it is, else by its longest listed beginning."""
    for name in names:
        if name in models:
            return models[name]
    for name in names:
        beginnings = [key for key in models if key.endswith("*") and name.startswith(key[:-1])]
        if beginnings:
            return models[max(beginnings, key=len)]
    return []


def _start_ns(rate: Rate) -> int:
    return int(datetime.combine(rate.effective_from, time(), UTC).timestamp()) * 1_000_000_000


def _tier(rate: Rate, prompt: int) -> Rate | Tier:
    fitting = [tier for tier in rate.tiers if prompt > tier.above_prompt_tokens]
    return fitting[-1] if fitting else rate


def _detailed(rate: Rate | Tier, prompt: int, completion: int, parts: tuple[int, int, int]) -> float:
    cached, written, reasoned = parts
    plain = prompt - cached - written if cached + written <= prompt else prompt
    spoken = completion - reasoned if reasoned <= completion else completion
    return (
        plain * rate.input
        + cached * (rate.input if rate.cached is None else rate.cached)
        + written * (rate.input if rate.cache_write is None else rate.cache_write)
        + spoken * rate.output
        + reasoned * (rate.output if rate.reasoning is None else rate.reasoning)
    ) * PER_TOKEN


NO_PRICES = Prices()


def price(event: Event, prices: Prices) -> float | None:
    """What an event costs by the table, whatever it says itself; None where that is not known."""
    return prices.cost(
        event.provider,
        event.model,
        event.timestamp_ns,
        event.prompt_tokens,
        event.completion_tokens,
        event.cached_tokens,
        event.cache_write_tokens,
        event.reasoning_tokens,
    )
