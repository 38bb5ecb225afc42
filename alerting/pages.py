"""The page behind the links in messages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import structlog
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from alerting import acknowledging
from alerting.acknowledging import LinkExpired, LinkUnknown, Ticket
from anomalies.models import Status

log = structlog.get_logger(__name__)

PAGE = "alerting/acknowledge.html"
PER_MINUTE = 30
"""Requests for one link, and requests of one address for links that are none."""
SHOWN = 20


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def acknowledge(request: HttpRequest, token: str) -> HttpResponse:
    """GET shows what the link is about and asks; only POST, with the page's own token, acknowledges."""
    now = timezone.now()
    try:
        if too_many(f"link:{token}"):
            raise Busy
        ticket = _ticket(request, token, now)
    except Busy:
        return _page(request, 429, "Too many requests", "Wait a minute, then try again.")
    except LinkExpired:
        return _page(request, 410, "This link has expired", "A newer message has a newer link.")
    except LinkUnknown:
        return _page(request, 404, "This link leads nowhere", "Open LLM-Sentinel to see what is going on.")
    return _perform(request, ticket, now) if request.method == "POST" else _ask(request, ticket)


class Busy(Exception):
    """Somebody asks more often than people do."""


def _ticket(request: HttpRequest, token: str, now: datetime) -> Ticket:
    try:
        return acknowledging.opened(token, now)
    except LinkUnknown:
        if too_many(f"address:{request.META.get('REMOTE_ADDR', '')}"):
            raise Busy from None
        raise


def _ask(request: HttpRequest, ticket: Ticket) -> HttpResponse:
    rows = acknowledging.firing(ticket)
    open_rows = [row for row in rows if row.status == Status.OPEN]
    if not open_rows:
        said = f"Acknowledged by {rows[0].acknowledged_by_name}." if rows else "It is over."
        return _page(request, 200, "Nothing to acknowledge", said)
    shown = {"open_rows": open_rows, "listed": open_rows[:SHOWN], "missing": max(len(open_rows) - SHOWN, 0)}
    return _page(request, 200, "Acknowledge this alert?", "", **shown)


def _perform(request: HttpRequest, ticket: Ticket, now: datetime) -> HttpResponse:
    name, note = request.POST.get("name", ""), request.POST.get("note", "")
    count = acknowledging.acknowledge_by(ticket, _ids(request.POST.getlist("anomaly")), name, note, now)
    log.info("acknowledged_by_link", group=str(ticket.group.pk), channel=ticket.channel.name, count=count)
    if not count:
        return _page(request, 200, "Nothing changed", "There was nothing left to acknowledge.")
    return _page(request, 200, "Acknowledged", "Nobody is called again while it is acknowledged.")


def too_many(key: str) -> bool:
    """Whether this happened too often within a minute. Without a cache nothing is counted: people come first."""
    name = "acknowledge:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    try:
        cache.add(name, 0, 60)
        return cache.incr(name) > PER_MINUTE
    except Exception as error:  # noqa: BLE001 (every cache has its own)
        log.warning("acknowledge_not_throttled", error=f"{type(error).__name__}: {error}")
        return False


def _ids(texts: Iterable[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found


def _page(request: HttpRequest, status: int, heading: str, text: str, **context: object) -> HttpResponse:
    response = render(request, PAGE, {"heading": heading, "text": text, **context}, status=status)
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response
