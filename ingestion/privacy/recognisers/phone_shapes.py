"""National numbers known by how they are written: the groups and signs that only phone numbers have."""

from __future__ import annotations

import re

from ingestion.privacy.recognisers.phone_plans import fits, is_international, is_national

LEAST_NATIONAL, MOST_NATIONAL = 9, 13  # digits of a number that only its writing gives away
YEAR = re.compile("(?:19|20)[0-9]{2}")
RUN = re.compile(r"\d+")
NORTH_AMERICAN = re.compile(r"[2-9]\d\d[2-9]\d{6}|555\d{7}|[2-9]\d{9}")
PADDED = re.compile("00|0123456789")

# Lengths of the groups, the country that writes so, the first digits of its numbers.
SHAPES: dict[tuple[int, ...], tuple[tuple[str, str], ...]] = {
    (3, 4, 4): (("CN", "1"),),  # 138 0013 8000
    (5, 5): (("IN", "6789"),),  # 98765 43210
    (3, 2, 2, 2): (("ES", "6789"), ("PL", "5678")),  # 612 34 56 78
    (2, 3, 2, 2): (("ES", "89"), ("PL", "12345678")),  # 91 234 56 78
}
# Groups as numbers in a table have them too: only where nothing else stands in the row.
LONELY_SHAPES: dict[tuple[int, ...], tuple[tuple[str, str], ...]] = {
    (3, 3, 3): (("ES", "6789"), ("PT", "29"), ("PL", "45678"), ("CZ", "67")),  # 512 345 678
    (2, 2, 2, 2): (("DK", "2345678"), ("NO", "234679")),  # 22 12 34 56
    (3, 2, 3): (("NO", "49"),),  # 912 34 567
    (2, 4, 4): (("BR", "123456789"),),  # 11 2345-6789
    (2, 5, 4): (("BR", "123456789"),),  # 11 98765-4321
    (4, 6): (("GR", "6"),),  # 6947 123456
}
RUSSIAN = ((1, 3, 3, 2, 2), (1, 3, 3, 4))  # 8 (495) 123-45-67


def is_written_as_phone(written: str, runs: list[str], *, is_alone: bool) -> bool:
    """Whether runs of digits, written so, are a national number; `is_alone` if no digits are in a row with them."""
    shape, digits = tuple(map(len, runs)), "".join(runs)
    if begins_abroad(digits, runs) or _is_north_american(shape, digits, written, is_alone=is_alone):
        return True
    if shape in RUSSIAN and digits[0] in "78" and digits[1] in "3489" and fits("RU", digits[1:], strictly=False):
        return True
    known = SHAPES.get(shape, ()) + (LONELY_SHAPES.get(shape, ()) if is_alone else ())
    if any(digits[0] in firsts and fits(region, digits, strictly=True) for region, firsts in known):
        return True
    if not LEAST_NATIONAL <= len(digits) <= MOST_NATIONAL:
        return False
    return _has_trunk_prefix(shape, digits, written, is_alone=is_alone)


def begins_abroad(digits: str, runs: list[str]) -> bool:
    """Whether it has an exit code where others have a plus: 00 44 …, 011 44 …."""
    for code in ("00", "011", "001"):
        number = "1" + digits[3:] if code == "001" else digits[len(code) :]
        if digits.startswith(code) and len(runs) > 1 and is_international(number, strictly=code != "001"):
            return True
    return False


def _has_trunk_prefix(shape: tuple[int, ...], digits: str, written: str, *, is_alone: bool) -> bool:
    """Whether it begins with an area code in parentheses, or with the 0 that is dialled before an area code."""
    if written.startswith("("):
        return 2 <= shape[0] <= 5 and not YEAR.fullmatch(digits[: shape[0]]) and is_national(digits)
    if digits[0] != "0":
        return False
    if len(shape) == 1:
        return is_alone and len(digits) in (10, 11) and not PADDED.match(digits) and is_national(digits)
    return 2 <= shape[0] <= 6 and min(shape[1:]) >= 2 and is_national(digits)


def _is_north_american(shape: tuple[int, ...], digits: str, written: str, *, is_alone: bool) -> bool:
    if shape == (1, 3, 3, 4) and digits[0] == "1":
        digits = digits[1:]
    elif shape != (3, 3, 4):
        return False
    if digits[0] == "3" and fits("IT", digits, strictly=True):  # Italian mobiles are written so too
        return True
    if not NORTH_AMERICAN.fullmatch(digits):
        return False
    # With mere spaces it could be three numbers in a row: then it must be alone, or in use.
    return is_alone or not RUN.sub("", written).isspace() or fits("US", digits, strictly=True)
