"""`manage.py standalone`: the embedded default."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sentinel_site.standalone.environment import Embedded
from sentinel_site.standalone.run import main


class Command(BaseCommand):
    help = (
        "Run everything in one process: broker, consumers, worker, scheduler and web server, with data under var/. "
        "SENTINEL_PORT chooses the port (8080), DEMO=0 leaves out the demo traffic, SENTINEL_ADMIN_PASSWORD and "
        "SENTINEL_API_TOKEN preset the first password and token, SENTINEL_VAR_DIR moves the data."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if (embedded := Embedded.prepared) is None:
            raise CommandError("its broker must start before settings are read: run it as `manage.py standalone`")
        main(embedded, self._say)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
        sys.stderr.flush()
