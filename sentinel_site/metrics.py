"""What the site counts beside what django-prometheus does. Each metric is named here and nowhere else."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

BUILD = Gauge("sentinel_build_info", "1, with the version that runs", ["version"], multiprocess_mode="livemax")
TASKS = Counter("sentinel_tasks_total", "Tasks that a worker ended, by outcome", ["task", "outcome"])
TASK_SECONDS = Histogram(
    "sentinel_task_seconds",
    "How long a worker took for a task",
    ["task"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
