from django.apps import AppConfig


class BaselinesConfig(AppConfig):
    name = "baselines"
    default_auto_field = "django.db.models.BigAutoField"
