"""Running roles: each in a thread of its own, until told to stop, or until one cannot go on."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import KafkaException
from django.conf import settings
from django.db import connections

from baselines.store import WrongPolicy
from baselines.tasks import partition_store
from ingestion import metrics
from ingestion.detect import DetectRole
from ingestion.inlets import Inlet, inlets_of
from ingestion.kafka import UnknownTopicId
from ingestion.normalize import NormalizeRole
from ingestion.role import Role, RoleFailed
from ingestion.store import StoreRole
from ingestion.telemetry_store import open_store

log = structlog.get_logger(__name__)

# In the order in which they finish: each reads what those before it write.
ROLES = ("normalize", "detect", "store")
VERSION = settings.SPECTACULAR_SETTINGS["VERSION"]
# Objects made before the garbage collector looks at the young, and how seldom at the older ones.
COLLECTED_EVERY = (50_000, 20, 100)
_STATUSES = ("healthy", "degraded", "unhealthy")


@dataclass(frozen=True)
class RunOptions:
    """What the command line may say otherwise than the configuration."""

    topics: tuple[str, ...] = ()
    group_id: str = ""
    batch_size: int = 0
    until_end: bool = False


@dataclass
class Runner:
    """Roles that run side by side in this process."""

    roles: list[Role]
    failed: list[str] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        return not self.failed and all(role.is_ready for role in self.roles)

    def health(self) -> dict[str, Any]:
        """The roles as components of a health report: unhealthy before the first assignment and after a failure."""
        components = [_component(role) for role in self.roles]
        worst = max((component["status"] for component in components), key=_STATUSES.index, default="healthy")
        return {"status": worst, "version": VERSION, "components": components}

    def run(self, stop: threading.Event, *, until_end: bool = False) -> int:
        """Run until `stop`, or with `until_end` until all input is done; 0, or 1 if a role failed.

        With `until_end` they end one after another: detect also reads what normalize republishes, and store what
        detect finds.
        """
        threads = [
            (role, threading.Thread(target=self._run_role, args=(role, stop), name=role.name)) for role in self.roles
        ]
        for _, thread in threads:
            thread.start()
        for role, thread in threads:
            if until_end:
                role.finish.set()
            while thread.is_alive():
                thread.join(0.2)
                self._measure()
        return 1 if self.failed else 0

    def _run_role(self, role: Role, stop: threading.Event) -> None:
        try:
            role.run(stop)
        except (RoleFailed, KafkaException, UnknownTopicId, WrongPolicy, LookupError) as error:
            self._note_failure(role, str(error))
            stop.set()
        except Exception as error:
            log.exception("role_crashed", role=role.name)
            self._note_failure(role, f"{type(error).__name__}: {error}")
            stop.set()
        finally:
            connections.close_all()

    def _measure(self) -> None:
        for role in self.roles:
            metrics.ROLE_READY.labels(role.name).set(role.is_ready and role.failure is None)

    def _note_failure(self, role: Role, reason: str) -> None:
        role.failure = reason
        metrics.ROLE_FAILURES.labels(role.name).inc()
        self.failed.append(f"{role.name}: {reason}")
        log.error("role_failed", role=role.name, error=reason)


def _component(role: Role) -> dict[str, Any]:
    status = "unhealthy" if role.failure or not role.is_ready else "degraded" if role.trouble else "healthy"
    error = role.failure or role.trouble or (None if role.is_ready else "no partitions assigned yet")
    return {"name": role.name, "status": status, "latency_ms": None, "error": error}


def collect_seldom() -> None:
    """Have the garbage collector leave alone what start-up made, and look at the rest less often.

    An event is in no cycle, but thousands in flight make the collector search everything again and again, at a tenth
    of all time. For a process that does nothing else; threads of a larger one do not decide this.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_EVERY)


def build_runner(roles: Sequence[str], options: RunOptions) -> Runner:
    """The runner for some of ROLES, as configured. Among others `normalize` is left out where it has no topics."""
    wanted = [name for name in ROLES if name in roles and (name != "normalize" or len(roles) == 1 or _inlets())]
    if wanted == ["normalize"]:
        return Runner([_build_normalize(options, options.topics)])
    return Runner([_BUILDERS[name](options) for name in wanted])


def _build_normalize(options: RunOptions, topics: Sequence[str] = ()) -> Role:
    """`topics` are those to read instead; which of them are OTLP's the configuration says, others hold native events.

    Only where the role runs alone: else `options.topics` are what detect and store read.
    """
    known = _inlets()
    inlets = {topic: known.get(topic, Inlet(None)) for topic in topics} or known
    reading = _reading("normalize", options)
    return NormalizeRole(
        settings.SENTINEL, inlets=inlets, group_id=reading["group_id"], batch_size=reading["batch_size"]
    )


def _inlets() -> dict[str, Inlet]:
    return inlets_of(settings.SENTINEL.ingestion.normalize)


def _build_detect(options: RunOptions) -> Role:
    return DetectRole(settings.SENTINEL, partition_store(), **_reading("detect", options))


def _build_store(options: RunOptions) -> Role:
    return StoreRole(settings.SENTINEL, open_store(), **_reading("store", options))


def _reading(role: str, options: RunOptions) -> dict[str, Any]:
    kafka = settings.SENTINEL.ingestion.kafka
    return {
        "topics": options.topics or (kafka.topic,),
        "group_id": f"{options.group_id}-{role}" if options.group_id else kafka.group(role),
        "batch_size": options.batch_size or kafka.max_poll_records,
    }


_BUILDERS: dict[str, Callable[[RunOptions], Role]] = {
    "normalize": _build_normalize,
    "detect": _build_detect,
    "store": _build_store,
}


def run_roles(roles: Sequence[str], stop: threading.Event, options: RunOptions | None = None) -> int:
    """Run roles in this process until `stop` is set; 0, or 1 if one failed."""
    options = options or RunOptions()
    return build_runner(roles, options).run(stop, until_end=options.until_end)
