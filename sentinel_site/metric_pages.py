"""The page docs/metrics.md, made from the metrics' definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase

import alerting.metrics
import anomalies.metrics
import baselines.metrics
import ingestion.metrics
import sentinel_site.metrics

CHAPTERS: dict[str, ModuleType] = {
    "Ingestion and detection": ingestion.metrics,
    "Anomalies": anomalies.metrics,
    "Baselines, state and caches": baselines.metrics,
    "Alerting": alerting.metrics,
    "Site": sentinel_site.metrics,
}
HEAD = """# Metrics

What the processes tell Prometheus of themselves, made from the definitions by `manage.py document_metrics`.
The web adds what django-prometheus counts (`django_*`), each process what its Python does (`process_*`, `python_*`).
"""


def definitions(module: ModuleType) -> list[MetricWrapperBase]:
    """The metrics that a module defines, by name."""
    found = [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]
    return sorted(found, key=lambda metric: metric.describe()[0].name)


def full_name(metric: MetricWrapperBase) -> str:
    """The name as Prometheus shows it; of a histogram the one without a suffix."""
    family = metric.describe()[0]
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return family.name + suffix


def label_names(metric: MetricWrapperBase) -> tuple[str, ...]:
    return ("digest",) if metric.describe()[0].type == "info" else tuple(metric._labelnames)


def page() -> str:
    """The whole page."""
    parts = [HEAD] + [chapter(title, definitions(module)) for title, module in CHAPTERS.items()]
    return "\n".join(parts)


def chapter(title: str, metrics: Iterable[MetricWrapperBase]) -> str:
    lines = [f"## {title}", "", "| Name | Type | Labels | Meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *_rows(metrics), ""])


def _rows(metrics: Iterable[MetricWrapperBase]) -> Iterator[str]:
    for metric in metrics:
        family = metric.describe()[0]
        labels = ", ".join(f"`{label}`" for label in label_names(metric))
        text = family.documentation.rstrip(".").replace("|", "\\|")
        yield f"| `{full_name(metric)}` | {family.type} | {labels} | {text}. |"
