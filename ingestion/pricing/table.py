"""The price table as it is written (config/prices.yaml): who sells which models, at which prices since when."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

PerMillion = Annotated[float, Meta(ge=0, le=100_000)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]


class PriceTableError(ValueError):
    """A price table that cannot be used: which file, what, where."""


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of a whole call whose prompt is longer than so many tokens."""

    above_prompt_tokens: Annotated[int, Meta(ge=1)]
    input: PerMillion
    output: PerMillion
    cached: PerMillion | None = None
    cache_write: PerMillion | None = None
    reasoning: PerMillion | None = None


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens since a day (00:00 UTC).

    Cached tokens (read from the provider's cache) and cache_write cost as much as input, reasoning as much as output,
    where nothing else is said.
    """

    effective_from: date
    input: PerMillion
    output: PerMillion
    cached: PerMillion | None = None
    cache_write: PerMillion | None = None
    reasoning: PerMillion | None = None
    tiers: tuple[Tier, ...] = ()


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Models of one provider with the same prices. `models` are names, or beginnings that end in `*`."""

    provider: Name
    models: Annotated[tuple[Name, ...], Meta(min_length=1)]
    history: Annotated[tuple[Rate, ...], Meta(min_length=1)]
    source: str = ""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`as_of` is when the prices were last compared with their sources; `aliases` gives each provider the other names
    that telemetry has for it."""

    as_of: date
    prices: tuple[Entry, ...]
    aliases: dict[str, tuple[str, ...]] = {}


def read_table(path: Path) -> Table:
    """The table in a file. Raises PriceTableError."""
    try:
        return parse_table(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PriceTableError(f"{path}: {error}") from error


def parse_table(text: bytes | str) -> Table:
    """The table that YAML holds. Raises ValueError with what is wrong and where."""
    try:
        table = msgspec.yaml.decode(text, type=Table)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    _check_models(table)
    return table


def _check_models(table: Table) -> None:
    """Every name once per provider and day, wildcards only at the end, tiers in ascending order."""
    seen: set[tuple[str, str, date]] = set()
    for entry in table.prices:
        for model in entry.models:
            if "*" in model[:-1] or model == "*":
                raise ValueError(f"{entry.provider} {model}: * may stand only at the end of a longer name")
            for rate in entry.history:
                key = (entry.provider, model.lower(), rate.effective_from)
                if key in seen:
                    raise ValueError(f"{entry.provider} {model} has two prices from {rate.effective_from}")
                seen.add(key)
                _check_tiers(f"{entry.provider} {model}", rate)


def _check_tiers(what: str, rate: Rate) -> None:
    bounds = [tier.above_prompt_tokens for tier in rate.tiers]
    if bounds != sorted(set(bounds)):
        raise ValueError(f"{what}: above_prompt_tokens must ascend from tier to tier, not {bounds}")
