from django.apps import AppConfig
from django.conf import settings


class SiteConfig(AppConfig):
    name = "sentinel_site"
    verbose_name = "LLM-Sentinel"

    def ready(self) -> None:
        from sentinel_site import (  # noqa: F401, PLC0415  counts what Celery tells of tasks
            celery,
            metrics,
            task_watch,
        )
        from sentinel_site.config import checks  # noqa: F401, PLC0415  registers the system checks of the configuration

        metrics.BUILD.labels(settings.SPECTACULAR_SETTINGS["VERSION"]).set(1)
