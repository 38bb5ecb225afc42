"""Section `dashboard`: the pages that people look at."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from sentinel_site.config.base import Section, check_url


def _trace_url(value: str) -> str:
    if "{trace_id}" not in value:
        raise ValueError('must have {trace_id} in it, as in "https://traces.example.com/trace/{trace_id}"')
    return check_url(value, "http", "https")


def _live_url(value: str) -> str:
    return value if value.startswith("/") and not value.startswith("//") else check_url(value, "http", "https")


class DashboardConfig(Section):
    trace_url_template: Annotated[str, AfterValidator(_trace_url)] | None = None
    """Address of a trace, with {trace_id} in it; null shows the ids of traces without links."""
    live_url: Annotated[str, AfterValidator(_live_url)] = "/live/"
    """Where pages listen for changes: a path behind the same proxy, or the address of the process that serves it."""

    @property
    def live_origin(self) -> str | None:
        """The origin of `live_url` where that is an address."""
        parts = urlsplit(self.live_url)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None
