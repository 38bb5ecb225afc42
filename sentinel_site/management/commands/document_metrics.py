"""Write docs/metrics.md anew, from the metrics' definitions."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from sentinel_site.metric_pages import page


class Command(BaseCommand):
    help = "Write docs/metrics.md anew, from the metrics' definitions."

    def handle(self, **options: Any) -> None:
        (settings.BASE_DIR / "docs" / "metrics.md").write_text(page())
