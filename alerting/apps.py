from typing import Any

from django.apps import AppConfig
from django.core.checks import register
from django.db import connections
from django.db.models.signals import post_migrate

from alerting import checks


class AlertingConfig(AppConfig):
    name = "alerting"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        for check in checks.CHECKS:
            register(check)
        post_migrate.connect(make_config_channels, sender=self)


def make_config_channels(using: str, **_: Any) -> None:
    """After a migration the channels of the configuration are there to be seen and chosen."""
    from alerting.config_channels import sync_config_channels  # noqa: PLC0415 (models exist once the apps are ready)
    from alerting.models import Channel  # noqa: PLC0415

    if Channel._meta.db_table in connections[using].introspection.table_names():
        sync_config_channels()
