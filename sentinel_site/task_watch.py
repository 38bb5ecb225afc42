"""Counts and times tasks, from what Celery tells of them."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import task_postrun, task_prerun

from sentinel_site.metrics import TASK_SECONDS, TASKS

_began: dict[str, float] = {}


@task_prerun.connect
def begin(task_id: str, **_: Any) -> None:
    _began[task_id] = time.monotonic()


@task_postrun.connect
def end(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    """`state` is None where a worker was lost with the task."""
    began = _began.pop(task_id, None)
    if began is not None:
        TASK_SECONDS.labels(task.name).observe(time.monotonic() - began)
    TASKS.labels(task.name, (state or "lost").lower()).inc()
