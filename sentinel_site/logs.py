"""Structured logs: one line per event, JSON for machines or a coloured console for people."""

from __future__ import annotations

import logging.config
from http import HTTPStatus
from typing import Any

import structlog

from ingestion.privacy import Policy, Scrubber

# The spec's levels; Python has no "trace".
LEVELS = {"trace": "DEBUG", "debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR"}

# Operators need the addresses of their machines, and digits in logs are offsets far more often than phones.
SCRUBBER = Scrubber(Policy(actions={"ip": "keep", "phone": "keep"}))

REQUESTS = "sentinel_site.requests"
"""The logger of requests, whose lines come ready made (sentinel_site.request_log)."""

SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def without_traceback(record: logging.LogRecord) -> bool:
    """Keep the record of a refused request, but not where in Django it was refused: nothing of ours is broken."""
    if getattr(record, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR) < HTTPStatus.INTERNAL_SERVER_ERROR:
        record.exc_info = record.exc_text = None
    return True


def without_private_data(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """The line without secrets and personal data: errors quote what they failed at."""
    return {key: SCRUBBER.scrub(value) if isinstance(value, str) else value for key, value in event.items()}


def logging_settings(logs: Any) -> dict[str, Any]:
    """Django's LOGGING for the `logging` section of the configuration."""
    renderer: list[Any] = (
        [structlog.processors.format_exc_info, without_private_data, structlog.processors.JSONRenderer()]
        if logs.json_lines
        else [without_private_data, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED_PROCESSORS,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
            },
            "ready": {"format": "%(message)s"},
        },
        "filters": {"without_traceback": {"()": lambda: without_traceback}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "structured"},
            "lines": {"class": "logging.StreamHandler", "formatter": "ready"},
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            name: {"level": LEVELS[logs.level]}
            for name in ("sentinel_site", "baselines", "anomalies", "alerting", "ingestion")
        }
        # urllib3 warns with the whole URL, which may be a secret of a channel.
        | {"numba": {"level": "WARNING"}, "urllib3": {"level": "ERROR"}}
        | {REQUESTS: {"level": LEVELS[logs.level], "handlers": ["lines"], "propagate": False}}
        | {"django.request": {"filters": ["without_traceback"]}},
    }


def configure(settings: dict[str, Any]) -> None:
    """Called by Django with LOGGING."""
    logging.config.dictConfig(settings)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED_PROCESSORS,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
