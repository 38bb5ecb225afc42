"""Django settings, derived from the one configuration (`config/sentinel.yaml`, environment); nothing is set twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from celery.schedules import crontab
from csp.constants import NONCE, NONE, SELF

from sentinel_site.config import load_config
from sentinel_site.logs import logging_settings
from sentinel_site.parts import broker_settings, cache_settings, database_settings

BASE_DIR = Path(__file__).resolve().parent.parent
SENTINEL = load_config()
DEVELOPMENT = SENTINEL.environment == "development"

SECRET_KEY = SENTINEL.security.secret_key.get_secret_value()
ENCRYPTION_KEYS = [key.get_secret_value() for key in SENTINEL.security.encryption_keys]
TOKEN_PEPPER = SENTINEL.security.token_pepper.get_secret_value()
DEBUG = False
ALLOWED_HOSTS = SENTINEL.api.allowed_hosts
CSRF_TRUSTED_ORIGINS = SENTINEL.api.csrf_trusted_origins

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_prometheus",
    "corsheaders",
    "csp",
    "axes",
    "auditlog",
    "baselines",
    "anomalies",
    "alerting",
    "ingestion",
    "sentinel_site.access",
    "sentinel_site",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "sentinel_site.middleware.ContentSecurityPolicy",
    "corsheaders.middleware.CorsMiddleware",
    "sentinel_site.middleware.BodyLimit",
    "sentinel_site.middleware.EntityTags",
    "sentinel_site.middleware.Sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "sentinel_site.middleware.Logins",
    "sentinel_site.middleware.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "sentinel_site.request_log.RequestLog",
    "sentinel_site.access.trail.AuditTrail",
    "sentinel_site.middleware.Lockouts",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "sentinel_site.urls"
WSGI_APPLICATION = "sentinel_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"dashboard": "sentinel_site.dashboard.tags"},
        },
    }
]

DATABASES = {"default": database_settings(SENTINEL.database, BASE_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = cache_settings(SENTINEL.storage.redis)
DJANGO_REDIS_IGNORE_EXCEPTIONS = False

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": SENTINEL.access.min_password_length},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/"
AXES_FAILURE_LIMIT = SENTINEL.access.lockout.failures
AXES_COOLOFF_TIME = timedelta(minutes=SENTINEL.access.lockout.minutes)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "sentinel_site.access.addresses.client_address"
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "access/locked_out.html"
AXES_ALLOWED_CORS_ORIGINS = "null"  # of nobody
AXES_DISABLE_ACCESS_LOG = True  # the audit trail says who came and went
AXES_ENABLE_ADMIN = False  # sentinel_site.access.admin has pages of its own

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True  # serve what the packages ship, even where collectstatic never ran

# Plain HTTP is for the machine under the desk: there the cookies must travel without TLS.
SECURE_SSL_REDIRECT = False if DEVELOPMENT else SENTINEL.api.ssl_redirect
SECURE_REDIRECT_EXEMPT = [r"^health/"]  # probes come over plain HTTP, to the process itself
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SENTINEL.api.behind_proxy else None
SECURE_HSTS_SECONDS = 0 if DEVELOPMENT else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEVELOPMENT
SECURE_HSTS_PRELOAD = not DEVELOPMENT
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = not DEVELOPMENT
CSRF_COOKIE_SECURE = not DEVELOPMENT
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = int(SENTINEL.access.session_hours * 3600)
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF, *filter(None, [SENTINEL.dashboard.live_origin])],
        "object-src": [NONE],
        "base-uri": [SELF],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}
CORS_ALLOWED_ORIGINS = [o for o in SENTINEL.api.cors_origins if o != "*"] if SENTINEL.api.enable_cors else []
CORS_ALLOW_ALL_ORIGINS = DEVELOPMENT and SENTINEL.api.enable_cors and "*" in SENTINEL.api.cors_origins
CORS_URLS_REGEX = r"^/(api|v1)/"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "sentinel_site.access.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["sentinel_site.access.permissions.ScopePermission"],
    "DEFAULT_RENDERER_CLASSES": ["sentinel_site.rendering.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["sentinel_site.rendering.JsonParser"],
    "DEFAULT_THROTTLE_CLASSES": ["sentinel_site.access.throttling.RequestsPerMinute"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_METADATA_CLASS": "sentinel_site.rendering.Methods",
    "EXCEPTION_HANDLER": "sentinel_site.problems.problem_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "LLM-Sentinel",
    "DESCRIPTION": "Anomaly detection and observability for LLM applications.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "sentinel_site.described.describe_refusals",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_PERMISSIONS": ["sentinel_site.access.permissions.ScopePermission"],
    "ENUM_NAME_OVERRIDES": {
        "AnomalyStatus": "anomalies.models.Status",
        "AnomalyState": "anomalies.models.State",
        "DeliveryStatus": "alerting.models.Delivery.Status",
        "ChannelKind": "alerting.models.Channel.Kind",
        "Severity": "anomalies.models.Severity",
        "SilenceKind": "alerting.models.Silence.Kind",
        "SilenceState": "alerting.models.silences.STATES",
        "AnomalyDirection": [("up", "up"), ("down", "down")],
        "WatchedDirection": "anomalies.detection.overrides.DIRECTIONS",
    },
}
API_SCHEMA_VERSION = "v1"

CELERY_BROKER_URL, CELERY_BROKER_TRANSPORT_OPTIONS = broker_settings(SENTINEL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "sentinel"
CELERY_TASK_DEFAULT_QUEUE_TYPE = "classic" if SENTINEL.standalone else "quorum"
CELERY_TIMEZONE = "UTC"

CELERY_BEAT_SCHEDULE = {
    "alerting.sweep": {"task": "alerting.tasks.sweep", "schedule": 5.0, "options": {"expires": 5.0}},
    "alerting.tell_of_channels": {
        "task": "alerting.tasks.tell_of_channels",
        "schedule": 30.0,
        "options": {"expires": 30.0},
    },
    "alerting.announce_endings": {
        "task": "alerting.tasks.announce_endings",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "alerting.watch_thresholds": {
        "task": "alerting.tasks.watch_thresholds",
        "schedule": 20.0,
        "options": {"expires": 20.0},
    },
    "alerting.watch_budgets": {
        "task": "alerting.tasks.watch_budgets",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "anomalies.expire_acknowledgements": {"task": "anomalies.expire_acknowledgements", "schedule": 30.0},
    "ingestion.roll_up_minutes": {
        "task": "ingestion.roll_up_minutes",
        "schedule": 600.0,
        "options": {"expires": 600.0},
    },
    "ingestion.count_users": {
        "task": "ingestion.count_users",
        "schedule": 300.0,
        "options": {"expires": 300.0},
    },
    "ingestion.prune": {"task": "ingestion.prune", "schedule": crontab(hour=3, minute=17)},
}
if SENTINEL.detection.baseline.enable_persistence:
    CELERY_BEAT_SCHEDULE["baselines.persist"] = {
        "task": "baselines.tasks.persist_baselines",
        "schedule": SENTINEL.detection.baseline.persist_interval_secs,
    }

LOGGING = logging_settings(SENTINEL.logging)
LOGGING_CONFIG = "sentinel_site.logs.configure"
UNFOLD = {
    "SITE_TITLE": "LLM-Sentinel",
    "SITE_HEADER": "LLM-Sentinel",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "GLOBAL_CALLBACK": "sentinel_site.admin_home.everywhere",
    "DASHBOARD_CALLBACK": "sentinel_site.admin_home.home",
}
PROMETHEUS_EXPORT_MIGRATIONS = False
# The check looks for the middleware by its own name, and sentinel_site.middleware.Lockouts is a kind of it.
SILENCED_SYSTEM_CHECKS = ["axes.W002"]
