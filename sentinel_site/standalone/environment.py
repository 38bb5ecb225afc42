"""The environment of the embedded default, chosen before Django reads its settings.

`prepare_environment` serves `manage.py standalone`; `adopt_running` serves every other command of the same checkout,
so that it meets the standalone's broker and database instead of the full stack's.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from cryptography.fernet import Fernet

from sentinel_site.standalone.broker import BrokerError, EmbeddedBroker
from sentinel_site.standalone.instance import (
    BROKERS,
    TOPIC_ID,
    AlreadyRunningError,
    Instance,
    var_directory,
    write_private,
)

TOPICS = {
    "SENTINEL__INGESTION__KAFKA__TOPIC": "llm.telemetry",
    "SENTINEL__INGESTION__KAFKA__DETECTIONS_TOPIC": "llm.detections",
    "SENTINEL__INGESTION__KAFKA__DEAD_LETTER_TOPIC": "llm.telemetry.dlq",
}
PARTITIONS = 3
BIND_ADDR = "SENTINEL__API__BIND_ADDR"
# The detection state and the queues of Celery live in the memory of the standalone's own process.
NEEDS_ITS_MEMORY = {"consume_telemetry": "It consumes telemetry itself"}
# Names of the spec that set the same keys as their longer forms.
SHORT_NAMES = {"SENTINEL__LOGGING__LEVEL": "SENTINEL_LOG_LEVEL", "SENTINEL__LOGGING__JSON": "SENTINEL_LOG_JSON"}


@dataclass(frozen=True)
class Embedded:
    """What was started before settings were read."""

    instance: Instance
    brokers: str
    broker: EmbeddedBroker | None
    """None where the environment names brokers of its own."""

    prepared: ClassVar[Embedded | None] = None
    """What `prepare_environment` started in this process."""


def prepare_environment() -> None:
    """Become the standalone of this checkout: lock, secrets, broker, embedded parts. What the user set is kept.

    Leaves the process with a message when another one runs, the port makes no sense or the broker fails.
    """
    if {"-h", "--help"} & set(sys.argv):
        return
    instance = Instance(var_directory())
    try:
        instance.acquire()
        apply(defaults(instance.var))
        broker = None if _is_set(BROKERS) else start_broker()
    except (AlreadyRunningError, BrokerError, ValueError, OSError) as error:
        sys.exit(f"standalone: {error}")
    brokers = broker.address if broker else ",".join(json.loads(os.environ[BROKERS]))
    topic_id = instance.publish(brokers, chosen(defaults(instance.var)))
    apply({BROKERS: json.dumps(brokers.split(","))})
    os.environ[TOPIC_ID] = topic_id
    Embedded.prepared = Embedded(instance, brokers, broker)


def start_broker() -> EmbeddedBroker:
    """The embedded broker with the topics that the configuration will name."""
    return EmbeddedBroker([os.environ[name] for name in TOPICS], PARTITIONS)


def adopt_running(command: str) -> None:
    """Take over the environment of the standalone that runs in this checkout, if one does and nothing else is set.

    Leaves the process with a message when `command` would need what only the standalone's own process has.
    """
    instance = Instance(var_directory())
    if not instance.is_running() or not (environment := instance.published()):
        return
    if _is_set("SENTINEL_CONFIG") or any(_is_set(name) for name in environment):
        return
    if reason := NEEDS_ITS_MEMORY.get(command):
        sys.exit(
            f"{command}: a standalone runs here (process {instance.pid()}). {reason}, and its detection state is in "
            "the memory of that process, where no other one can share it. Stop it first, or choose another "
            "configuration with --config or SENTINEL_CONFIG."
        )
    os.environ.update(environment)


def apply(values: dict[str, str]) -> None:
    """Set what is not set yet."""
    for name, value in values.items():
        if not _is_set(name):
            os.environ[name] = value


def chosen(names: dict[str, str]) -> dict[str, str]:
    """Of the variables named, those in force, in the form (plain or *_FILE) in which they are set."""
    forms = [form for name in names for form in (name, f"{name}_FILE")]
    return {form: os.environ[form] for form in forms if os.environ.get(form)}


def defaults(var: Path) -> dict[str, str]:
    """Every variable of the embedded default except the brokers. Raises ValueError for a port that is none."""
    address = f"127.0.0.1:{port()}"
    return {
        "SENTINEL__ENVIRONMENT": "development",
        "SENTINEL__STANDALONE": "true",
        **TOPICS,
        "SENTINEL__INGESTION__KAFKA__AUTO_OFFSET_RESET": "earliest",
        "SENTINEL__DATABASE__URL": f"sqlite:///{quote(str(var / 'sentinel.sqlite3'))}",
        "SENTINEL__STORAGE__BACKEND": "database",
        "SENTINEL__STORAGE__REDIS__URL": "fakeredis://",
        "SENTINEL__CELERY__BROKER_URL": "memory://localhost/",
        "SENTINEL__ALERTING__RABBITMQ__URL": "memory://localhost/",
        BIND_ADDR: address,
        "SENTINEL__API__PUBLIC_URL": f"http://{address}",
        # An address of the user's own choice may be reached from other machines.
        "SENTINEL__API__METRICS_OPEN": str((os.environ.get(BIND_ADDR) or address) == address).lower(),
        "SENTINEL__LOGGING__LEVEL": "warn",
        "SENTINEL__LOGGING__JSON": "false",
        **generated_secrets(var / "secrets.json"),
    }


def port() -> int:
    """The web server's port: `SENTINEL_PORT`, else 8080."""
    text = os.environ.get("SENTINEL_PORT") or "8080"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"SENTINEL_PORT is {text!r}; a port from 1 to 65535 is needed")
    return int(text)


def generated_secrets(file: Path) -> dict[str, str]:
    """Keys of this installation, made at the first start and kept in `file` for its owner alone.

    Raises ValueError when the file is damaged: new keys would make stored secrets unreadable.
    """
    if not file.exists():
        keys = {
            "SENTINEL__SECURITY__SECRET_KEY": secrets.token_urlsafe(64),
            "SENTINEL__SECURITY__ENCRYPTION_KEYS": json.dumps([Fernet.generate_key().decode()]),
            "SENTINEL__SECURITY__TOKEN_PEPPER": secrets.token_urlsafe(48),
        }
        write_private(file, json.dumps(keys, indent=2))
    try:
        kept = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); restore it, or delete it with the data beside it") from None
    return {str(name): str(value) for name, value in kept.items()}


def _is_set(name: str) -> bool:
    """Whether the user chose a value: by the variable, its *_FILE form or its short name. Empty counts as unset."""
    names = (name, f"{name}_FILE", SHORT_NAMES.get(name, name))
    return any(os.environ.get(form) for form in names)
