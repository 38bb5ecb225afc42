"""Phone numbers: international ones by their country code, national ones by how they are written or what is before.

Which lengths and digits a country uses comes from the tables of libphonenumber. Its matcher is not used: it costs a
millisecond where this costs microseconds, and it follows one default country, while telemetry comes from all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from ingestion.privacy.findings import PHONE, Budget, Finding, Recogniser
from ingestion.privacy.recognisers.edges import BEGUN, DASHES, SPACES
from ingestion.privacy.recognisers.phone_plans import LEAST, MOST, is_international, is_national
from ingestion.privacy.recognisers.phone_shapes import is_written_as_phone
from ingestion.privacy.recognisers.phone_words import is_called

GAP = rf"(?:[{SPACES}{DASHES}./()\u00b7]|%20|%2D|%28|%29)"
# Digits with at most three signs between: perhaps several numbers in a row.
STRETCH = re.compile(
    rf"(?P<first>[+\uff0b%(\d]){BEGUN}(?<![0-9A-Za-z_][{DASHES}./_](?s:.))(?<![$€£¥#,.](?s:.))"
    rf"(?P<plus>(?<=[+\uff0b])\s?+|(?<=%)2[Bb]\s?+)?+(?P<digits>(?:(?<=%)28|(?<![(\d])\()?+\d*+(?:{GAP}{{1,3}}+\d++)*+)"
)
EXTENSION = re.compile(r"\s?(?:x|ext\.?|extension|доб\.?|#)\s?\d{1,6}(?![0-9A-Za-z_])", re.IGNORECASE)
# What is counted or paid for is no number to call: `512 345 678 bytes`.
UNIT = re.compile(
    r"(?i)(?:\s|%20)?(?:[kmgt]?i?b|bytes|px|ms|ns|us|s|sec|kr|eur|usd|chf|dollars|[€$£¥]|%(?![0-9A-F]{2})|tokens|rows|items|km|kg|m|times)"
    r"(?![0-9a-z])"
)
ENDS = re.compile(rf"(?![0-9A-Za-z_]|[{DASHES}.,/_:]\d|[{DASHES}_][0-9A-Za-z])")
ENCODED = re.compile(r"%2[0-9D]", re.IGNORECASE)
RUN = re.compile(r"\d+")
MOST_RUNS = 8
PLAIN_ENDS = ("", ",", ".", ";", ")", '"', "'", "\n", "-", "/")  # with none of which an extension begins
FRACTION = re.compile(r"\d+\.\d+(?![./\-\d])")
MOST_CALLED = 13  # digits of a number that is called one and is in no country's tables
LONG = 40  # characters of a stretch beyond which it cannot be one number
AS_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2007\u2009\u202f", " "))
DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./](?:[0-3]?\d)|[0-3]?\d[-./][0-3]?\d[-./](?:19|20)\d\d)(?!\d)"
)

BEFORE = 28


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
        written = text[start:end]
        if "%" in written:
            written = ENCODED.sub(lambda sign: "  " + unquote(sign[0]), written)
        yield from _numbers(Stretch(text, start, written, match["plus"] is not None), match.start(), budget)


def _is_moment(text: str, start: int, end: int) -> bool:
    """Whether the digits are a date and what could be parts of times around it: most digits of logs are."""
    date = DATE.search(text, start, min(end, start + LONG))
    return date is not None and date.start() - start <= LEAST and end - date.end() <= LEAST


class Stretch:
    """Runs of digits, their places, and the text around them."""

    def __init__(self, text: str, offset: int, written: str, has_plus: bool) -> None:
        self.text, self.offset, self.written, self.has_plus = text, offset, written, has_plus
        self._places = [run.span() for run in RUN.finditer(written)]
        self.runs = [written[start:end] for start, end in self._places]
        if not written.isascii():
            self.runs = [_ascii(run) for run in self.runs]

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
        if self.text[end : end + 1] not in PLAIN_ENDS and (extension := EXTENSION.match(self.text, end)):
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
    for strictly in (True, False):
        for last in range(len(runs) - 1, -1, -1):
            budget.spend(1)
            if is_international("".join(runs[: last + 1]), strictly=strictly) and stretch.end(last) is not None:
                return last
    return None


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
        if _is_phone(stretch, first, last) and (called or not UNIT.match(stretch.text, stretch.end(last) or 0)):
            return last
    return _end_of_called(stretch, first, ends) if called else None


def _end_of_called(stretch: Stretch, first: int, ends: list[int]) -> int | None:
    """The end of digits that are called a phone number: a national one of some country, else any that are not a
    fraction."""
    written = {last: stretch.between(first, last) for last in ends}
    ends = [last for last in ends if not FRACTION.match(written[last])]
    for last in ends:
        if is_national("".join(stretch.runs[first : last + 1])):
            return last
    fitting = (last for last in ends if len(RUN.sub("", written[last])) + MOST_CALLED >= len(written[last]))
    return next(fitting, None)


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
    return is_written_as_phone(stretch.between(first, last), runs, is_alone=len(runs) == len(stretch.runs))


def _begins_abroad(digits: str, runs: list[str]) -> bool:
    """Whether it has an exit code where others have a plus: 00 44 …, 011 44 …."""
    for code in ("00", "011", "001"):
        number = "1" + digits[3:] if code == "001" else digits[len(code) :]
        if digits.startswith(code) and len(runs) > 1 and is_international(number, strictly=code != "001"):
            return True
    return False


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)


RECOGNISER = Recogniser(
    gate=r"(?:\+|\x{ff0b}|%2[Bb])(?:\pZ|\(|%20)?\p{Nd}|"  # international
    r"\p{Nd}(?:(?:\pZ|\p{Pd}|[./()\x{b7}]|%2[089Dd]){0,3}\p{Nd}){8}|"  # nine digits or more
    r"(?:^|[^\p{Nd} \-.])[ \-.]?\p{Nd}{2,3}(?:\pZ|-|%20)\p{Nd}{2}(?:\pZ|-|%20)\p{Nd}{2,3}|"  # eight, in pairs
    # Fewer after what could be one of the words of phone_words: the first letters of each.
    r"(?i:tel|t[eé]l|tlf|tfno|ph|contact|number|call|mob|m[oó]v|cell|fax|sms|whatsapp|dial|ring|hotline|msisdn|handy|rufn|"
    r"anruf|appel|num|portable|celular|ll.m|chiama|ligue|bel|puhelin|[^\x{00}-\x{24f}])"
    r"[^\n]{0,24}\p{Nd}(?:(?:\pZ|\p{Pd}|[./()]|%20){0,3}\p{Nd}){6}",
    find=find,
)
