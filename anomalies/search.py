"""From the terms of a query to rows of the database."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast

from django.db.models import Exists, F, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast

from anomalies.lookups import Glob
from anomalies.models import Anomaly
from anomalies.queries import FIELDS, Pattern, Query, Term
from anomalies.queries.fields import Kind
from anomalies.queries.terms import Span
from baselines.models import Service

_Rows = TypeVar("_Rows", bound="QuerySet[Any]")

_COLUMNS = {"timestamp": "first_seen", "acknowledged_by": "acknowledged_by_name", "resolved_by": "resolved_by_name"}
_LOOKUPS = {":": "exact", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_OLDER = {">": "lt", ">=": "lte", "<": "gt", "<=": "gte"}  # the greater the age, the earlier the moment


def filter(anomalies: _Rows, query: Query, now: datetime) -> _Rows:
    """Those of `anomalies` for which all terms of `query` hold; `now` is what ages are counted from.

    Names of services are looked up first, in one small query per term that has a pattern or no field: with a list
    of ids the database takes its indexes.
    """
    for term in query.terms:
        anomalies = cast(_Rows, anomalies.filter(_condition(term, now)))
    return anomalies


def filter_incidents(incidents: _Rows, query: Query, now: datetime) -> _Rows:
    """Those of `incidents` with an anomaly for which all terms of `query` hold."""
    if not query.terms:
        return incidents
    members = filter(Anomaly.objects.filter(incident=OuterRef("pk")).order_by(), query, now)
    return cast(_Rows, incidents.filter(Exists(members)))


def _condition(term: Term, now: datetime) -> Q:
    if term.field is None:
        holds = _named(term.pattern.anywhere())
    elif term.field in _SPECIAL:
        holds = _SPECIAL[term.field](term, now)
    else:
        holds = _BY_KIND[FIELDS[term.field].kind](_COLUMNS.get(term.field, term.field), term)
    return ~holds if term.negated else holds


def _named(pattern: Pattern) -> Q:
    """Of a service or a model with such a name, whatever its case."""
    services = Service.objects.filter(name__iglob=pattern).order_by().values_list("id", flat=True)
    return Q(service__in=list(services)) | Q(model__iglob=pattern)


def _service(term: Term, _now: datetime) -> Q:
    found = Service.objects.filter(_text("name", term)).order_by().values_list("id", flat=True)
    return Q(service__in=list(found))


def _age(term: Term, now: datetime) -> Q:
    return Q(**{f"first_seen__{_OLDER[term.operator]}": now - term.value})  # type: ignore[operator]


def _feedback(term: Term, _now: datetime) -> Q:
    votes = Q(feedback__verdict__in=[word for word in term.value if word != "none"], feedback__isnull=False)  # type: ignore[union-attr]
    return votes | Q(feedback__isnull=True) if "none" in term.value else votes  # type: ignore[operator]


def _detectors(term: Term, _now: datetime) -> Q:
    return Q(detectors__has_any_keys=list(term.value))  # type: ignore[arg-type]


def _traces(term: Term, _now: datetime) -> Q:
    return _in_json("sample_trace_ids", "", str(term.value))


def _dimensions(term: Term, _now: datetime) -> Q:
    return _in_json("dimensions", '"value": ', str(term.value))


def _details(term: Term, _now: datetime) -> Q:
    return _in_json("details", "", str(term.value))


def _in_json(column: str, before: str, value: str) -> Q:
    """Rows with the text `value` in the JSON of `column`, which databases write with or without other scripts."""
    text = Cast(F(column), TextField())
    spellings = {json.dumps(value, ensure_ascii=plain) for plain in (True, False)}
    holds = Q()
    for spelling in sorted(spellings):
        holds |= Q(Glob(text, Pattern(("", f"{before}{spelling}", ""))))
    return holds


def _text(column: str, term: Term) -> Q:
    pattern = term.pattern
    return Q(**{column: pattern.parts[0]}) if pattern.is_exact else Q(**{f"{column}__glob": pattern})


def _one_of(column: str, term: Term) -> Q:
    return Q(**{f"{column}__in": term.value})


def _compared(column: str, term: Term) -> Q:
    return Q(**{f"{column}__{_LOOKUPS[term.operator]}": term.value})


def _timed(column: str, term: Term) -> Q:
    """A day is from its start to the next: at or after it, before it, within it, after it is over."""
    start, end = cast(Span, term.value)
    if start == end:
        return Q(**{f"{column}__{_LOOKUPS[term.operator]}": start})
    within = Q(**{f"{column}__gte": start, f"{column}__lt": end})
    bounds = {">=": ("gte", start), "<": ("lt", start), ">": ("gte", end), "<=": ("lt", end)}
    if term.operator == ":":
        return within
    lookup, bound = bounds[term.operator]
    return Q(**{f"{column}__{lookup}": bound})


_SPECIAL: dict[str, Callable[[Term, datetime], Q]] = {
    "service": _service,
    "age": _age,
    "feedback": _feedback,
    "detectors": _detectors,
    "sample_trace_ids": _traces,
    "dimensions": _dimensions,
    "details": _details,
}
_BY_KIND: dict[Kind, Callable[[str, Term], Q]] = {
    Kind.TEXT: _text,
    Kind.CHOICE: _one_of,
    Kind.RANK: _one_of,
    Kind.NUMBER: _compared,
    Kind.COUNT: _compared,
    Kind.IDENTITY: _compared,
    Kind.MOMENT: _timed,
}
