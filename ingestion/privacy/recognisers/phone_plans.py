"""What numbers each country has, from the tables of libphonenumber."""

from __future__ import annotations

import re
from functools import lru_cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

LEAST, MOST = 7, 15  # digits; E.164 allows fifteen
NUMBER_KINDS = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "uan")

# Where a number begins with 0 or parentheses, it is looked for in these countries' tables.
REGIONS = (
    "GB",
    "DE",
    "FR",
    "IT",
    "NL",
    "BE",
    "CH",
    "AT",
    "SE",
    "FI",
    "IE",
    "AU",
    "NZ",
    "JP",
    "KR",
    "CN",
    "TW",
    "IN",
    "ID",
    "MY",
    "TH",
    "VN",
    "PH",
    "PK",
    "ZA",
    "NG",
    "KE",
    "EG",
    "TR",
    "IL",
    "UA",
    "RO",
    "BR",
    "AR",
    "US",
    "MX",
)


def is_international(digits: str, *, strictly: bool) -> bool:
    """Whether digits (without plus) are a country code and a number as long as that country's, strictly: one of its
    ranges. Numbers made up for examples are often outside all ranges, yet nothing else is written so."""
    if not LEAST <= len(digits) <= MOST:
        return False
    for width in (1, 2, 3):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:width] or 0))
        if regions:
            number = digits[width:]
            return any(fits(region, number, strictly=strictly) for region in regions[:3])
    return False


def fits(region: str, number: str, *, strictly: bool) -> bool:
    lengths, pattern = _plan(region)
    """Whether a national number is as long as a region's, strictly: one of its ranges."""
    if strictly:
        return len(number) in lengths and pattern.fullmatch(number) is not None
    return bool(lengths) and min(lengths) <= len(number) <= min(max(lengths), MOST - 1)


@lru_cache(maxsize=512)
def _plan(region: str) -> tuple[frozenset[int], re.Pattern[str]]:
    """The lengths and the pattern of a region's national numbers."""
    metadata = PhoneMetadata.metadata_for_region(region, None)
    if metadata is None:  # satellites and international networks have no region of their own
        return frozenset(range(7, 13)), re.compile(r"\d+")
    kinds = (getattr(metadata, kind) for kind in NUMBER_KINDS)
    patterns = {kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern}
    lengths = frozenset(metadata.general_desc.possible_length) if metadata.general_desc else frozenset()
    return lengths, re.compile("|".join(sorted(patterns)))


@lru_cache(maxsize=4096)
def is_national(digits: str) -> bool:
    """Whether a national number is one of the ranges of any of the REGIONS."""
    number = digits.removeprefix("0")
    return any(
        fits(region, number, strictly=True) or (region == "IT" and fits(region, digits, strictly=True))
        for region in REGIONS
    )
