"""How templates of the pages write numbers, times and severities."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from anomalies import story
from anomalies.models import Anomaly
from sentinel_site.dashboard import wording

register = template.Library()
NOTHING = "—"
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """A time for everybody: UTC as it is sent, in the viewer's zone once scripts run."""
    if at is None:
        return NOTHING
    return format_html('<time datetime="{}">{} UTC</time>', f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M}")


@register.filter
def ago(at: datetime | None) -> SafeString | str:
    """The same, as how long ago it was once scripts run."""
    if at is None:
        return NOTHING
    shown = f"{at:%Y-%m-%d %H:%M}"
    return format_html('<time datetime="{}" data-ago>{} UTC</time>', f"{at:%Y-%m-%dT%H:%M:%SZ}", shown)


@register.filter
def quantity(value: float | None, metric: str) -> str:
    """In the unit of `metric`."""
    return NOTHING if value is None else story.quantity(value, metric)


@register.filter
def compact(value: float | None) -> str:
    """With three digits and a unit: 12.3k, 4.5M."""
    if value is None:
        return NOTHING
    for size, unit in _UNITS:
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


@register.filter
def share(value: float | None) -> str:
    """As percent."""
    return NOTHING if value is None else f"{100 * value:.3g} %"


@register.filter
def dollars(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"${value:,.0f}" if abs(value) >= 1000 else (f"${value:.2f}" if abs(value) >= 0.1 else f"${value:.2g}")


@register.filter
def words(name: object) -> str:
    """A name of the code as people write it: error_rate becomes error rate."""
    return str(name).replace("_", " ")


@register.filter
def scaled(value: float, length: float) -> str:
    """A share of a length, for drawings."""
    return f"{max(0.0, min(1.0, float(value))) * float(length):.1f}"


@register.simple_tag
def url_with(selection: Any, **changed: str) -> str:
    """The query string of the page with some parameters changed, with its question mark."""
    return f"?{selection.to_query(**changed)}"


@register.simple_tag
def url_for_service(service: str) -> str:
    """The query string of the overview of one service."""
    return "?" + urlencode({"service": service})


@register.simple_tag
def departed(anomaly: Anomaly) -> str:
    """What moved where, against what."""
    return wording.departure(anomaly)


@register.simple_tag
def live_url() -> str:
    """Where pages listen for changes."""
    return str(settings.SENTINEL.dashboard.live_url)
