from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "sentinel_site.access"
    label = "access"
    verbose_name = "Access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sentinel_site.access import audit, authentication  # noqa: F401, PLC0415  the latter tells OpenAPI of tokens

        audit.register_models()
