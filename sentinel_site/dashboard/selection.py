"""What a page is asked to show: a range of time, services, models and a search, all of it in the URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.utils.dateparse import parse_datetime

from anomalies.queries import Query, QueryError, parse
from anomalies.queries.terms import Term

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
RANGES = {"1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
DEFAULT_RANGE = "6h"
CUSTOM = ""
LONGEST = timedelta(days=731)
SHORTEST = timedelta(minutes=5)
MOST_POINTS = 720
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 7 * 1440)
_NOTHING = Query(())


@dataclass(frozen=True)
class Selection:
    """[start, end) and the filters. `span` names the range, and is empty where both ends were given."""

    start: datetime
    end: datetime
    span: str = DEFAULT_RANGE
    service: str = ""
    model: str = ""
    text: str = ""
    query: Query = _NOTHING
    problem: str = ""
    """What is wrong with `text`, which then selects nothing less."""

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    @property
    def step(self) -> int:
        """Seconds between two points of a chart: as few as leave it readable."""
        return next((step for step in STEPS if self.seconds / (step * MINUTE) <= MOST_POINTS), STEPS[-1]) * MINUTE

    @property
    def is_filtered(self) -> bool:
        return bool(self.service or self.model or self.query.terms)

    def takes(self, service: str, model: str) -> bool:
        """Whether calls of `service` to `model` are shown. What a search says of anomalies alone does not matter."""
        if (self.service and service != self.service) or (self.model and model != self.model):
            return False
        return all(_holds(term, service, model) for term in self.query.terms)

    def to_query(self, **changed: str) -> str:
        """The query string of this page with some parameters changed; what is as usual is left out."""
        given = {"range": "" if self.span in (DEFAULT_RANGE, CUSTOM) else self.span}
        if self.span == CUSTOM:
            given |= {"start": _instant(self.start), "end": _instant(self.end)}
        given |= {"service": self.service, "model": self.model, "q": self.text} | changed
        if "range" in changed:
            given = {name: value for name, value in given.items() if name not in ("start", "end")}
        return urlencode({name: value for name, value in given.items() if value})


def selected(parameters: Mapping[str, str], now: datetime) -> Selection:
    """What `parameters` of a URL ask for. What makes no sense is as if it were absent: people edit URLs."""
    span = parameters.get("range", DEFAULT_RANGE)
    span = span if span in RANGES else DEFAULT_RANGE
    chosen = Selection(now - timedelta(seconds=RANGES[span]), now, span)
    if custom := _custom(parameters, now):
        chosen = replace(chosen, start=custom[0], end=custom[1], span=CUSTOM)
    chosen = replace(chosen, service=_name(parameters, "service"), model=_name(parameters, "model"))
    return _searching(chosen, parameters.get("q", "").strip())


def _searching(chosen: Selection, text: str) -> Selection:
    try:
        return replace(chosen, text=text, query=parse(text))
    except QueryError as error:
        return replace(chosen, text=text, problem=str(error))


def _custom(parameters: Mapping[str, str], now: datetime) -> tuple[datetime, datetime] | None:
    start, end = (_moment(parameters.get(name, "")) for name in ("start", "end"))
    if start is None or end is None:
        return None
    end = min(end, now)
    start = min(max(start, end - LONGEST), end - SHORTEST)
    return start, end


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None and moment.year > 1970 else None


def _name(parameters: Mapping[str, str], name: str) -> str:
    return parameters.get(name, "")[:128].replace("\0", "")


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _holds(term: Term, service: str, model: str) -> bool:
    if term.field is None:
        pattern = term.pattern.anywhere()
        lowered = type(pattern)(tuple(part.lower() for part in pattern.parts))
        found = lowered.matches(service.lower()) or lowered.matches(model.lower())
    elif term.field in ("service", "model"):
        found = term.pattern.matches(service if term.field == "service" else model)
    else:
        return True
    return found != term.negated
