"""The overrides that operators set, as the pipeline takes them."""

from __future__ import annotations

from collections import defaultdict

from anomalies.detection.instructions import Instructions
from anomalies.detection.overrides import OverrideSet, Rule
from anomalies.models import DetectionOverride
from baselines import catalogue
from baselines.models import Service


def current() -> OverrideSet:
    """The enabled overrides as of now; two queries, for a consumer to ask every few seconds."""
    rows = list(DetectionOverride.objects.filter(enabled=True).order_by("id"))
    rules = [rule_of(row) for row in rows]
    owners = {row.project_id for row in rows if row.project_id is not None}
    services: defaultdict[str, list[str]] = defaultdict(list)
    for project, name in Service.objects.filter(project__in=owners).values_list("project_id", "name"):
        services[str(project)].append(name)
    return OverrideSet.of(rules, services)


def instructions() -> Instructions:
    """All that operators said, as of now: three queries."""
    retired = {pair: int(since.timestamp() * 1000) for pair, since in catalogue.retired().items()}
    return Instructions.of(current(), retired)


def rule_of(row: DetectionOverride) -> Rule:
    """The rule that a row states."""
    thresholds = {name: float(value) for name, value in row.thresholds.items()}
    project = None if row.project_id is None else str(row.project_id)
    return Rule(**row.rule_values() | {"thresholds": thresholds, "project": project})
