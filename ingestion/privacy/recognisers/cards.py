"""Payment cards: an issuer's leading digits, the lengths it uses, and the check digit of ISO/IEC 7812-1 (Luhn)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.privacy.findings import CARD, Budget, Finding, Recogniser
from ingestion.privacy.recognisers.edges import BEGUN, DASHES, SPACES

GAP = rf"(?:[{SPACES}{DASHES}.]|%20|%2D|\+)"
# Runs of four to nineteen digits with at most one sign (or two spaces) between them.
DIGITS = re.compile(
    rf"\d{BEGUN}(?<!\d[.,]\d)(?<![.$€£]\d)\d{{3,18}}+(?:{GAP}{{1,2}}+\d{{2,7}}+){{0,8}}+(?![0-9A-Za-z])"
)
RUN = re.compile(r"%2[0Dd]|(\d+)")
LEAST, MOST = 12, 19
MAESTRO = tuple(range(12, 20))

# (first, last) leading digits of the same length, and the lengths of the whole number.
ISSUERS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "659", (16, 17, 18, 19)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("81", "82", (16,)),  # RuPay, UnionPay
    ("60", "60", (16,)),  # RuPay, Hipercard
    ("300", "305", (14, 16)),  # Diners Club
    ("3095", "3095", (14, 16)),
    ("36", "36", (14, 16)),
    ("38", "39", (14, 16)),
    ("35", "35", (16, 17, 18, 19)),  # JCB
    ("2131", "2131", (15,)),
    ("1800", "1800", (15,)),
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("5018", "5018", MAESTRO),  # Maestro
    ("5020", "5020", MAESTRO),
    ("5038", "5038", MAESTRO),
    ("5893", "5893", MAESTRO),
    ("56", "58", MAESTRO),
    ("0604", "0604", MAESTRO),
    ("6390", "6390", MAESTRO),
    ("6304", "6304", MAESTRO),
    ("6759", "6763", MAESTRO),
    ("506", "509", (16, 18, 19)),  # Verve, Elo, RuPay
    ("636", "639", (16,)),  # Elo, InstaPayment
    ("9792", "9792", (16,)),  # Troy
)
DOUBLED = str.maketrans("0123456789", "0246813579")


def find(text: str, budget: Budget) -> Iterator[Finding]:
    for match in DIGITS.finditer(text):
        budget.spend(2)
        if match.end() - match.start() < LEAST:
            continue
        runs = [run for run in RUN.finditer(match[0]) if run[1]]
        yield from _cards(runs, match.start(), budget)


def _cards(runs: list[re.Match[str]], offset: int, budget: Budget) -> Iterator[Finding]:
    first = 0
    while first < len(runs):
        last = _end_of_card(runs, first, budget)
        if last is not None:
            yield Finding(CARD, offset + runs[first].start(), offset + runs[last].end())
            first = last
        first += 1


def _end_of_card(runs: list[re.Match[str]], first: int, budget: Budget) -> int | None:
    """The run with which a card that begins at run `first` ends. A card is one run, or groups of which the first
    has four digits (4-4-4-4, 4-6-5, …)."""
    digits = ""
    for last in range(first, min(first + 7, len(runs))):
        digits += runs[last][1]
        if len(digits) > MOST or (last > first and len(runs[first][1]) != 4):
            return None
        if len(digits) >= LEAST:
            budget.spend(2)
            if is_card(digits):
                return last
    return None


def is_card(digits: str) -> bool:
    """Whether digits are the number of a card: issuer, length and check digit agree."""
    digits = _ascii(digits)
    return _is_issued(digits) and luhn(digits) and len(set(digits)) > 1


def _is_issued(digits: str) -> bool:
    return any(first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in ISSUERS)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of those before it (ISO/IEC 7812-1, annex B)."""
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(DOUBLED))) % 10 == 0


def _ascii(digits: str) -> str:
    """Digits of any script as 0 to 9."""
    return digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)


RECOGNISER = Recogniser(gate=r"\p{Nd}{4}(?:(?:\pZ|\p{Pd}|[.+]|%20|%2D){0,2}\p{Nd}){8}", find=find)
