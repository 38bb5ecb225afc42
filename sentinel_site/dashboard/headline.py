"""The state of everything in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentinel_site.dashboard.listing import Listing

_NAMES = {"critical": "critical incident", "warning": "warning", "info": "notice"}


@dataclass(frozen=True)
class Headline:
    """`tone` is a severity, waiting (open, but over) or ok; `more` may be empty."""

    tone: str
    text: str
    more: str = ""


def headline(listing: Listing) -> Headline:
    going_on, waiting = listing.active_counts, _without(listing.counts, listing.active_counts)
    count = sum(waiting.values())
    waits = f"{count} more that ended {_wait(count)}" if count else ""
    if worst := _worst(going_on):
        is_one = sum(going_on.values()) == 1
        return Headline(worst, f"{_told(going_on)} {'is' if is_one else 'are'} going on", waits)
    if count:
        rest = f"{_told(waiting)} ended and {_wait(count)}"
        return Headline("waiting", "Nothing is going on right now", rest)
    return Headline("ok", "Nothing is going on right now", "Nothing waits for anybody")


def _told(counts: Mapping[str, int]) -> str:
    """The worst by name, the others by number: "2 critical incidents and 3 lesser ones"."""
    worst = _worst(counts)
    first, rest = counts[worst], sum(counts.values()) - counts[worst]
    named = f"{first} {_NAMES[worst]}{'s' if first != 1 else ''}"
    return f"{named} and {rest} lesser {'ones' if rest != 1 else 'one'}" if rest else named


def _wait(count: int) -> str:
    return "wait to be acknowledged" if count != 1 else "waits to be acknowledged"


def _worst(counts: Mapping[str, int]) -> str:
    return next((severity for severity, count in counts.items() if count), "")


def _without(counts: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    return {severity: count - others[severity] for severity, count in counts.items()}
