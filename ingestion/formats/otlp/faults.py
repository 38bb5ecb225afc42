"""Requests that are refused as a whole."""

from __future__ import annotations

from dataclasses import dataclass


class Unreadable(ValueError):
    """A request that cannot be read at all; says why, and where it belongs if that can be told."""


@dataclass(slots=True)
class Allowance:
    """How many resources, scopes and items a request may still have."""

    left: int
    most: int

    @classmethod
    def of(cls, most: int) -> Allowance:
        return cls(most, most)

    def take(self, count: int = 1) -> None:
        """Raises Unreadable where there are too many."""
        self.left -= count
        if self.left < 0:
            raise Unreadable(f"The body holds more than {self.most} resources, scopes and items; send fewer at once.")
