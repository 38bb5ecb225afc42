"""`manage.py check_config`. `manage.py` runs the same without Django, so that it works with a broken configuration."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from sentinel_site.config import report


class Command(BaseCommand):
    help = "Print the effective configuration with secrets masked, or all that is wrong with it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        report.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        status = report.check(options["config"], sources=options["sources"], out=self.stdout, err=self.stderr)
        if status:
            raise SystemExit(status)
