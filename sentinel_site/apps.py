from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "sentinel_site"
    verbose_name = "LLM-Sentinel"

    def ready(self) -> None:
        from sentinel_site import celery  # noqa: F401, PLC0415  shared tasks need the application before the first call
        from sentinel_site.config import checks  # noqa: F401, PLC0415  registers the system checks of the configuration
