"""Phone numbers: international ones by their country code, national ones by how they are written or what is before.

Which lengths and digits a country uses comes from the tables of libphonenumber. Its matcher is not used: it costs a
millisecond where this costs microseconds, and it follows one default country, while telemetry comes from all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from ingestion.privacy.findings import PHONE, Budget, Finding, Recogniser
from ingestion.privacy.recognisers.edges import BEGUN, DASHES, SPACES
from ingestion.privacy.recognisers.phone_words import is_called

GAP = rf"(?:[{SPACES}{DASHES}./()\u00b7]|%20|%2D|%28|%29)"
# Digits with at most three signs between: perhaps several numbers in a row.
STRETCH = re.compile(
    rf"(?P<first>[+\uff0b%(\d]){BEGUN}(?<![0-9A-Za-z_][{DASHES}./_](?s:.))(?<![$€£¥#,.](?s:.))"
    rf"(?P<plus>(?<=[+\uff0b])\s?+|(?<=%)2[Bb]\s?+)?+(?P<digits>(?:(?<=%)28|(?<![(\d])\()?+\d*+(?:{GAP}{{1,3}}+\d++)*+)"
)
EXTENSION = re.compile(r"\s?(?:x|ext\.?|extension|доб\.?|#)\s?\d{1,6}(?![0-9A-Za-z_])", re.IGNORECASE)
ENDS = re.compile(rf"(?![0-9A-Za-z_]|[{DASHES}.,/_:]\d|[{DASHES}_][0-9A-Za-z])")
ENCODED = re.compile(r"%2[0-9D]", re.IGNORECASE)
RUN = re.compile(r"\d+")
LEAST, MOST = 7, 15  # digits; E.164 allows fifteen
LEAST_NATIONAL, MOST_NATIONAL = 9, 12  # digits of a number that only its writing gives away
MOST_RUNS = 8
LONG = 40  # characters of a stretch beyond which it cannot be one number
YEAR = re.compile("(?:19|20)[0-9]{2}")
AS_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2007\u2009\u202f", " "))
DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./](?:[0-3]?\d)|[0-3]?\d[-./][0-3]?\d[-./](?:19|20)\d\d)(?!\d)"
)

BEFORE = 28

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

NUMBER_KINDS = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "uan")

NORTH_AMERICAN = re.compile(r"1?(?:[2-9]\d\d)\d{7}")
NATIONAL_SHAPES = (
    (3, 3, 4),  # 415-555-2671
    (1, 3, 3, 4),  # 1-800-555-0199
    (3, 4, 4),  # 138 0013 8000
    (5, 5),  # 98765 43210
    (3, 2, 2, 2),  # 612 34 56 78
    (1, 3, 3, 2, 2),  # 8 (495) 123-45-67
)


def find(text: str, budget: Budget) -> Iterator[Finding]:
    for match in STRETCH.finditer(text):
        budget.spend(2)
        start, end = match.span("digits")
        if match["plus"] is None:
            start = match.start()
        if end - start < LEAST or _is_moment(text, start, end):
            continue
        if end - start > LONG:
            budget.spend((end - start) // 3)
        # Encoded spaces and parentheses (`%20`, `%28`) hold digits that are none.
        written = ENCODED.sub(lambda sign: "  " + unquote(sign[0]), text[start:end])
        yield from _numbers(Stretch(text, start, written, match["plus"] is not None), match.start(), budget)


def _is_moment(text: str, start: int, end: int) -> bool:
    """Whether the digits are a date and what could be its hour: most digits of logs are."""
    date = DATE.match(text, start, end)
    return date is not None and end - date.end() < LEAST


class Stretch:
    """Runs of digits, their places, and the text around them."""

    def __init__(self, text: str, offset: int, written: str, has_plus: bool) -> None:
        self.text, self.offset, self.written, self.has_plus = text, offset, written, has_plus
        self._places = [run.span() for run in RUN.finditer(written)]
        self.runs = [_ascii(written[start:end]) for start, end in self._places]

    def between(self, first: int, last: int) -> str:
        """How runs first to last are written, with the parenthesis around the first."""
        return self.written[self._places[first][0] - self._has_parentheses(first) : self._places[last][1]]

    def begin(self, first: int) -> int:
        """Where in the text a number that begins with this run begins."""
        start = self.offset + self._places[first][0]
        if not self._has_parentheses(first):
            return start
        return start - (3 if self.text.startswith("%28", start - 3) else 1)

    def _has_parentheses(self, run: int) -> bool:
        start, end = self._places[run]
        return self.written[start - 1 : start] == "(" and ")" in self.written[end : end + 3]

    def end(self, last: int) -> int | None:
        """Where in the text a number ends with this run, and its extension; None if it cannot end there."""
        end = self.offset + self._places[last][1]
        if extension := EXTENSION.match(self.text, end):
            return extension.end()
        return end if ENDS.match(self.text, end) else None

    def has_signs(self, first: int, last: int) -> bool:
        """Whether there is more than spaces between the runs."""
        return any(not self.gap(run).isspace() for run in range(first + 1, last + 1))

    def gap(self, run: int) -> str:
        """The signs before a run."""
        return self.written[self._places[run - 1][1] : self._places[run][0]].translate(AS_SPACES) if run else " "


def _numbers(stretch: Stretch, start: int, budget: Budget) -> Iterator[Finding]:
    first = 0
    if stretch.has_plus and (last := _end_of_international(stretch, budget)) is not None:
        yield Finding(PHONE, start, stretch.end(last) or 0)
        first = last + 1
    follows_number = True
    while first < len(stretch.runs):
        last = _end_of_national(stretch, first, budget) if " " in stretch.gap(first) else None
        # After digits that are no number, digits with mere spaces are not one either.
        if last is not None and (follows_number or stretch.has_signs(first, last)):
            yield Finding(PHONE, stretch.begin(first), stretch.end(last) or 0)
            first = last
            follows_number = True
        else:
            follows_number = False
        first += 1


# International


def _end_of_international(stretch: Stretch, budget: Budget) -> int | None:
    """The run that ends the number after the plus: the most runs that fit its country, else that are long enough."""
    runs = stretch.runs[:MOST_RUNS]
    if "(0)" in stretch.written and "0" in runs:  # the trunk prefix, which is not dialled from abroad
        runs[runs.index("0")] = ""
    lasts = [last for last in range(len(runs) - 1, -1, -1) if stretch.end(last) is not None]
    for strictly in (True, False):
        for last in lasts:
            budget.spend(1)
            if is_international("".join(runs[: last + 1]), strictly=strictly):
                return last
    return None


def is_international(digits: str, *, strictly: bool) -> bool:
    """Whether digits (without plus) are a country code and a number as long as that country's, strictly: one of its
    ranges. Numbers made up for examples are often outside all ranges, yet nothing else is written so."""
    if not LEAST <= len(digits) <= MOST:
        return False
    for width in (1, 2, 3):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:width] or 0))
        if regions:
            number = digits[width:]
            return any(_fits(region, number, strictly=strictly) for region in regions[:3])
    return False


def _fits(region: str, number: str, *, strictly: bool) -> bool:
    lengths, pattern = _plan(region)
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


# National


def _end_of_national(stretch: Stretch, first: int, budget: Budget) -> int | None:
    """The run that ends a national number which begins with run `first`: as many runs as make one."""
    ends = _ends(stretch, first)
    if not ends:
        return None
    budget.spend(4)
    begin = stretch.begin(first)
    called = is_called(stretch.text[max(0, begin - BEFORE) : begin].rpartition("\n")[2])
    if called is False:
        return None
    for last in ends:
        budget.spend(3)
        if _is_phone(stretch, first, last):
            return last
    if called is None:
        return None
    return next((last for last in ends if _somewhere("".join(stretch.runs[first : last + 1]))), ends[0])


def _ends(stretch: Stretch, first: int) -> list[int]:
    """The runs with which a number that begins with run `first` could end, the last one first."""
    ends, length = [], 0
    for last in range(first, min(first + MOST_RUNS, len(stretch.runs))):
        length += len(stretch.runs[last])
        if length > MOST:
            break
        if length >= LEAST and stretch.end(last) is not None and not DATE.search(stretch.between(first, last)):
            ends.append(last)
    return ends[::-1]


def _is_phone(stretch: Stretch, first: int, last: int) -> bool:
    runs = stretch.runs[first : last + 1]
    digits = "".join(runs)
    return _begins_abroad(digits, runs) or _is_written_as_phone(stretch.between(first, last), digits, runs)


def _begins_abroad(digits: str, runs: list[str]) -> bool:
    """Whether it has an exit code where others have a plus: 00 44 …, 011 44 …."""
    for code in ("00", "011", "001"):
        number = "1" + digits[3:] if code == "001" else digits[len(code) :]
        if digits.startswith(code) and len(runs) > 1 and is_international(number, strictly=code != "001"):
            return True
    return False


def _is_written_as_phone(written: str, digits: str, runs: list[str]) -> bool:
    shape = tuple(map(len, runs))
    if shape in NATIONAL_SHAPES and _has_national_look(digits, shape, written):
        return True
    if not LEAST_NATIONAL <= len(digits) <= MOST_NATIONAL:
        return False
    if written.startswith("("):
        return 2 <= shape[0] <= 5 and ")" in written[:9] and not YEAR.fullmatch(runs[0]) and _somewhere(digits)
    if digits[0] == "0" and len(runs) > 1:
        return 2 <= shape[0] <= 6 and min(shape[1:]) >= 2 and _somewhere(digits)
    return False


def _has_national_look(digits: str, shape: tuple[int, ...], written: str) -> bool:
    """Groups that only certain countries use, with digits that they use."""
    if shape in ((3, 3, 4), (1, 3, 3, 4)):
        return _is_north_american(digits, written)
    if shape == (3, 4, 4):
        return _fits("CN", digits, strictly=True)
    if shape == (5, 5):
        return digits[0] in "6789" and _fits("IN", digits, strictly=True)
    if shape == (3, 2, 2, 2):
        return digits[0] in "6789" and _fits("ES", digits, strictly=True)
    return digits[0] in "78" and _fits("RU", digits[1:], strictly=True)


def _is_north_american(digits: str, written: str) -> bool:
    national = digits[1:] if len(digits) == 11 else digits
    if len(digits) == 11 and digits[0] != "1":
        return digits[0] in "78" and _fits("RU", national, strictly=True)
    if not NORTH_AMERICAN.fullmatch(national):
        return False
    # With mere spaces it could be three numbers in a row: then it must be one that is in use.
    return not RUN.sub("", written).isspace() or _fits("US", national, strictly=True)


@lru_cache(maxsize=4096)
def _somewhere(digits: str) -> bool:
    """Whether a national number is one of the ranges of any of the REGIONS."""
    number = digits.removeprefix("0")
    return any(
        _fits(region, number, strictly=True) or (region == "IT" and _fits(region, digits, strictly=True))
        for region in REGIONS
    )


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)


RECOGNISER = Recogniser(
    gate=r"(?:\+|\x{ff0b}|%2[Bb])(?:\pZ|\(|%20)?\p{Nd}|\p{Nd}(?:(?:\pZ|\p{Pd}|[./()\x{b7}]|%2[089Dd]){0,3}\p{Nd}){8}|"
    r"(?i:tel|ph|phone|call|mob|cell|fax|sms|whatsapp|dial|ring|hotline|msisdn|handy|nummer|num|portable|vil|celular|ll.m|chiama|"
    r"ligue|bel|puhelin|[^\x{00}-\x{24f}])[^\n]{0,24}\p{Nd}(?:(?:\pZ|\p{Pd}|[./()]|%20){0,3}\p{Nd}){6}",
    find=find,
)
