"""US social security numbers: the ranges that the administration issues, with separators or after their name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.privacy.findings import SSN, Budget, Finding, Recogniser
from ingestion.privacy.recognisers.edges import BEGUN, DASHES, SPACES

# Never issued: area 000, 666 and 900 to 999, group 00, serial 0000.
NUMBER = re.compile(
    rf"[0-8]{BEGUN}(?<![0-9A-Za-z][{DASHES}./_][0-9])(?<![$€£#][0-9])(?<!0(?=00))(?<!6(?=66))[0-9]{{2}}"
    rf"(?P<gap>[{DASHES}{SPACES}]|%20|%2D)?(?!00)[0-9]{{2}}(?(gap)(?P=gap))(?!0000)[0-9]{{4}}"
    rf"(?![0-9A-Za-z]|[{DASHES}/][0-9A-Za-z]|\.[0-9])"
)
NAMED = re.compile(
    r"(?i)(?<![a-z])(?:ssn|ss#|social[\s_-]{0,2}sec|soc[\s._-]{0,2}sec|s\.s\.n|seguro social|tax.?id|itin)"
)
# What looks the same but says of itself that it is something else.
OTHER = re.compile(
    r"(?i)(?:order|invoice|ticket|part|sku|item|ref(?:erence)?|case|tracking|serial|lot|batch|model|version|build"
    r"|product|catalog(?:ue)?|po|rfc|room|job)[\s_-]{0,2}(?:id|no|num|number|nr|code|key)?[\"'\s.:#=-]{0,6}\Z"
)
BEFORE = 40
HINTS = ("ss", "soc", "s.s", "seguro", "tax", "itin")  # every name holds one; to look for them is cheap


def find(text: str, budget: Budget) -> Iterator[Finding]:
    for match in NUMBER.finditer(text):
        budget.spend(2)
        before = text[max(0, match.start() - BEFORE) : match.start()]
        if _is_named(before) or (_is_written_so(match) and not OTHER.search(before)):
            yield Finding(SSN, match.start(), match.end())


def _is_named(before: str) -> bool:
    """Whether the name stands before it, and nothing else that could be meant stands nearer."""
    folded = before.lower()
    return any(hint in folded for hint in HINTS) and NAMED.search(before) is not None and not OTHER.search(before)


def _is_written_so(match: re.Match[str]) -> bool:
    """Whether it has the hyphens that give it away; with spaces it may be any numbers in a row."""
    return match["gap"] is not None and not match["gap"].isspace()


RECOGNISER = Recogniser(gate=r"[0-9]{3}(?:\pZ|\p{Pd}|%20|%2D)?[0-9]{2}(?:\pZ|\p{Pd}|%20|%2D)?[0-9]{4}", find=find)
