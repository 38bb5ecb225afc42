"""What is found in a text, and how much work may be spent on finding it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

EMAIL = "email"
PHONE = "phone"
CARD = "card"
IBAN = "iban"
SSN = "ssn"
IP = "ip"
API_KEY = "api_key"
BEARER = "bearer"
JWT = "jwt"
PRIVATE_KEY = "private_key"

# Where two findings overlap, the kind that stands first here is kept.
KINDS = (PRIVATE_KEY, JWT, API_KEY, BEARER, EMAIL, IBAN, CARD, IP, SSN, PHONE)
SECRETS = frozenset({PRIVATE_KEY, JWT, API_KEY, BEARER})


class Finding(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text are of a kind."""

    kind: str
    start: int
    end: int


class TooMuchWork(Exception):
    """The text holds so many candidates that looking at them all would hold everything else up."""


class Budget:
    """Work that one text may cost, in units of about a microsecond.

    Counted, not timed: the same text is treated the same on every machine and in every replay.
    """

    __slots__ = ("left",)

    def __init__(self, characters: int) -> None:
        self.left = 5_000 + characters // 6

    def spend(self, units: int) -> None:
        """Raises TooMuchWork when nothing is left."""
        self.left -= units
        if self.left < 0:
            raise TooMuchWork


@dataclass(frozen=True, slots=True)
class Recogniser:
    """Finds kinds of private data.

    `gate` is a pattern (RE2) that every text with such data matches; only then is `find` asked. It yields findings
    from left to right and raises TooMuchWork.
    """

    gate: str
    find: Callable[[str, Budget], Iterable[Finding]]
