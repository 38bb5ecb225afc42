"""The pages, the data that their scripts fetch, and what people do on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from anomalies import feedback, lifecycle
from anomalies.models import Anomaly, Verdict
from sentinel_site.access.models import Scope
from sentinel_site.dashboard import entrance, incident, stream
from sentinel_site.dashboard.entrance import Sight
from sentinel_site.dashboard.headline import headline
from sentinel_site.dashboard.momentary import Momentary
from sentinel_site.dashboard.overview import Overview, overview
from sentinel_site.dashboard.selection import RANGES, Selection, selected
from sentinel_site.problems import http_problem
from sentinel_site.standalone import LIVE_THREADS

PARTS = ("status", "incidents", "totals", "pairs")
recent: Momentary[Overview] = Momentary(1.0)
seats = stream.Seats(LIVE_THREADS if settings.SENTINEL.standalone else 0)


@require_GET
@never_cache
@entrance.page()
def home(request: HttpRequest) -> HttpResponse:
    known = stream.fingerprint(_sight(request))
    seen = _overview(request)
    context = _context(request, seen)
    context |= {"known": known}
    charts = {"charts": seen.charts, "annotations": seen.annotations, "span": _span(seen.selection)}
    return render(request, "dashboard/overview.html", context | {"drawn": charts})


@require_GET
@never_cache
@entrance.data()
def data(request: HttpRequest) -> HttpResponse:
    """What changes on the first page: its parts as HTML, and the charts."""
    seen = _overview(request)
    context = _context(request, seen)
    return JsonResponse(
        {
            "title": context["title"],
            "parts": {part: render_to_string(f"dashboard/parts/{part}.html", context, request) for part in PARTS},
            "charts": seen.charts,
            "annotations": seen.annotations,
            "span": _span(seen.selection),
        }
    )


@require_GET
@never_cache
@entrance.page()
def incident_page(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    if successor := incident.successor_of(_sight(request), incident_id):
        return redirect("incident-page", successor)
    known = stream.fingerprint(_sight(request))
    card = incident.card(_sight(request), incident_id, timezone.now())
    return render(request, "dashboard/incident.html", {"card": card, "may_act": _may_act(request), "known": known})


@require_GET
@never_cache
@entrance.data()
def incident_data(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    """What changes on the page of an incident."""
    now = timezone.now()
    context = {"card": incident.card(_sight(request), incident_id, now), "may_act": _may_act(request)}
    parts = {part: render_to_string(f"dashboard/parts/{part}.html", context, request) for part in ("head", "life")}
    charts = incident.charts_of(_sight(request), incident_id, now)
    return JsonResponse({"title": context["card"].incident.title, "parts": parts, "charts": charts, "annotations": []})


@require_POST
@entrance.page(Scope.WRITE)
def acknowledge(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    return _act(request, incident_id, lifecycle.acknowledge, "Acknowledged")


@require_POST
@entrance.page(Scope.WRITE)
def resolve(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    return _act(request, incident_id, lifecycle.resolve, "Resolved")


@require_POST
@entrance.page(Scope.WRITE)
def vote(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    """What somebody makes of all anomalies of an incident."""
    identity = incident.successor_of(_sight(request), incident_id) or incident_id
    verdict = request.POST.get("verdict", "")
    if verdict not in Verdict.values:
        return http_problem(request, 400, f"verdict must be one of {', '.join(Verdict.values)}.")
    for row in incident.members_of(identity):
        feedback.vote(row.pk, request.user, verdict, _note(request), timezone.now())
    messages.success(request, f"Called {verdict}. Thank you: it makes thresholds better.")
    return _back(request, identity)


@require_GET
@entrance.data()
def live(request: HttpRequest) -> HttpResponseBase:
    """Server-sent events. Where no process of its own serves them, all but a few are sent away to poll."""
    watcher = stream.Watcher(_sight(request), request.headers.get("Last-Event-ID", ""))
    if isinstance(request, ASGIRequest):
        frames: Any = stream.async_frames(watcher)
    elif seats.take():
        is_gone = request.META.get("waitress.client_disconnected", lambda: False)
        frames = stream.Frames(watcher, is_gone=is_gone, done=seats.leave)
    else:
        return http_problem(request, 503, "Live updates are served by a process of their own. Poll instead.")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"} | _cross_origin(request)
    return StreamingHttpResponse(frames, content_type="text/event-stream", headers=headers)


def _cross_origin(request: HttpRequest) -> dict[str, str]:
    """Pages of this site may listen also where the process that serves `/live/` has an address of its own."""
    site = urlsplit(str(settings.SENTINEL.api.public_url))
    origin = f"{site.scheme}://{site.netloc}"
    if request.headers.get("Origin") != origin:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin, Cookie"}


def _overview(request: HttpRequest) -> Overview:
    now = timezone.now()
    selection = selected(request.GET, now)
    sight = _sight(request)
    return recent.get((sight, request.GET.urlencode()), lambda: overview(sight, selection, now))


def _context(request: HttpRequest, seen: Overview) -> dict[str, Any]:
    count = seen.listing.open_count
    return {
        "seen": seen,
        "selection": seen.selection,
        "ranges": list(RANGES),
        "headline": headline(seen.listing),
        "title": f"({count}) Overview" if count else "Overview",
        "may_act": _may_act(request),
        "is_new": seen.is_new,
        "events_url": request.build_absolute_uri("/api/v1/events"),
    }


def _span(selection: Selection) -> dict[str, float]:
    return {"from": selection.start.timestamp(), "to": selection.end.timestamp()}


def _sight(request: HttpRequest) -> Sight:
    sight: Sight = request.sight  # type: ignore[attr-defined]
    return sight


def _may_act(request: HttpRequest) -> bool:
    return bool(getattr(request, "may_act", False))


def _act(request: HttpRequest, incident_id: UUID, perform: Callable[..., int], done: str) -> HttpResponse:
    identity = incident.successor_of(_sight(request), incident_id) or incident_id
    changed = perform(Anomaly.objects.filter(incident=identity), request.user, note=_note(request))
    recent.clear()  # who acts wants to see it
    if changed:
        messages.success(request, f"{done}.")
    else:
        messages.info(request, "Nothing changed: somebody was faster.")
    return _back(request, identity)


def _note(request: HttpRequest) -> str:
    return request.POST.get("note", "").strip()[:1000].replace("\0", "")


def _back(request: HttpRequest, incident_id: UUID) -> HttpResponse:
    """To where the form stood. A script that sent it only wants to know that it went well."""
    if request.headers.get("X-Requested-With") == "fetch":
        list(messages.get_messages(request))  # said by the script itself
        return HttpResponse(status=204)
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        target = reverse("incident-page", args=[incident_id])
    return HttpResponseRedirect(target)
