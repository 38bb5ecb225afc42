"""IBANs: the length of the country's registry entry and the check digits of ISO 13616 (mod 97)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from ingestion.privacy.findings import IBAN, Budget, Finding, Recogniser
from ingestion.privacy.recognisers.edges import BEGUN, DASHES, END, SPACES

GAP = rf"(?:[{SPACES}{DASHES}.\t]|%20|\+)"
BEGINNING = re.compile(rf"[A-Za-z]{BEGUN}[A-Za-z]{GAP}?+[0-9]{{2}}(?={GAP}?[0-9A-Za-z])")
# In one piece the check digits alone tell enough, also where the account part is shorter than the country's.
COMPACT = re.compile(rf"[A-Z]{{2}}[0-9]{{2}}[0-9A-Z]{{11,30}}+{END}")
ENCODED = re.compile(r"%20|[^0-9A-Za-z]")

# From the SWIFT registry of IBAN formats.
LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def find(text: str, budget: Budget) -> Iterator[Finding]:
    after = 0
    for match in BEGINNING.finditer(text):
        budget.spend(1)
        length = LENGTHS.get(match[0][:2].upper())
        if length is None or match.start() < after:
            continue
        budget.spend(4)
        whole = _spaced(length).match(text, match.start()) or COMPACT.match(text, match.start())
        if whole and is_iban(ENCODED.sub("", whole[0])):
            after = whole.end()
            yield Finding(IBAN, whole.start(), after)


@lru_cache(maxsize=32)
def _spaced(length: int) -> re.Pattern[str]:
    """So many letters and digits, each pair perhaps with a sign between."""
    return re.compile(rf"[0-9A-Za-z](?:{GAP}?+[0-9A-Za-z]){{{length - 1}}}{END}")


def is_iban(compact: str) -> bool:
    """Whether the check digits of letters and digits without spaces are those of an IBAN, in either case of letters."""
    if compact[:2].upper() not in LENGTHS:
        return False
    return int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97 == 1


RECOGNISER = Recogniser(
    gate=r"[A-Za-z]{2}(?:\pZ|\p{Pd}|[.+\t]|%20)?[0-9]{2}(?:\pZ|\p{Pd}|[.+\t]|%20)?[0-9A-Za-z]{2}"
    r"(?:(?:\pZ|\p{Pd}|[.+\t]|%20)?[0-9A-Za-z]){9}",
    find=find,
)
