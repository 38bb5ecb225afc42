"""Deduplication: the same thing is not told twice to the same channel within the window."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

ALWAYS_PASS = frozenset({"anomaly.escalated", "anomaly.resolved"})
"""Events that no window holds back: it got worse, or it is over."""


def dedup_key(channel_id: int, service: str, model: str, anomaly_type: str, severity: str, *apart: str) -> str:
    """64 hexadecimal digits, equal for alerts that count as the same; `apart` is what sets them apart besides.

    The severity is part of it, so a higher one passes at once. The parts are joined by a character that the
    pipeline lets into no name, so no two different lists of parts read the same.
    """
    parts = (str(channel_id), service, model, anomaly_type, severity, *apart)
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def is_duplicate(event: str, last_delivered_at: datetime | None, now: datetime, window: timedelta) -> bool:
    """Whether `event` is held back: the window counts from the last *delivered* one, so a failed send silences nobody.

    A delivery from the future (a clock stepped back) holds nothing back for longer than one window.
    """
    if event in ALWAYS_PASS or last_delivered_at is None:
        return False
    return abs(now - last_delivered_at) < window
