from django.apps import AppConfig
from django.db.models.signals import pre_save


class AccessConfig(AppConfig):
    name = "sentinel_site.access"
    label = "access"
    verbose_name = "Access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from auditlog.models import LogEntry  # noqa: PLC0415  models are known from here on only

        from sentinel_site.access import audit, authentication, logins, trail  # noqa: F401, PLC0415  tells OpenAPI

        audit.register_models()
        logins.connect()
        pre_save.connect(trail.complete, sender=LogEntry, dispatch_uid="audit.complete")
