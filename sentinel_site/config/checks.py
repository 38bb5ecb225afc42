"""The configuration's warnings as Django system checks, so that every command says them at its start."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register()
def configuration_warnings(**_: Any) -> list[CheckMessage]:
    """One warning for each key that does not act as its author may think."""
    return [
        Warning(text, hint="manage.py check_config --sources shows every value in force.", id="sentinel.W001")
        for text in settings.SENTINEL.origin.warnings
    ]
