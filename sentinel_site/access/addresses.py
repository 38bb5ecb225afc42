"""Where a request comes from: the address that lockouts count by and that the audit trail names."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest, credentials: object = None) -> str | None:
    """The address of whoever asks; None where there is none (a socket of the file system).

    Everybody may write into X-Forwarded-For, and each proxy appends whom it heard. So behind proxies it is the entry
    that the outermost trusted one appended, counted from the right; without proxies the header says nothing.
    """
    heard_from = [request.META.get("REMOTE_ADDR", "")]
    if settings.SENTINEL.api.behind_proxy:
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        heard_from = [*forwarded, *heard_from][-1 - settings.SENTINEL.access.trusted_proxies :]
    return next((found for found in map(_address, heard_from) if found), None)


def _address(text: str) -> str | None:
    """An address as proxies write it, with or without a port; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
