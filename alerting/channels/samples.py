"""Notices to try templates on: what a channel will say, before anything happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerting.channels.base import Notice, NoticeType
from alerting.channels.wording import context, worded
from alerting.rules.payload import AnomalyData
from alerting.rules.templates import TemplateProblem, render

START = datetime(2026, 1, 31, 3, 4, tzinfo=UTC)
LINK = "https://sentinel.example.com/admin/anomalies/anomaly/0190c2f0/change/"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a channel would say of one sample."""

    sample: str
    title: str
    text: str


def previews(title_template: str, body_template: str) -> list[Preview]:
    """What the templates make of every sample. Raises `TemplateProblem`."""
    for template in (title_template, body_template):
        if template.strip():
            render(template, context(SAMPLES["one anomaly"]))
    told = {name: worded(sample, title_template, body_template) for name, sample in SAMPLES.items()}
    return [Preview(name, notice.title, notice.text) for name, notice in told.items()]


def template_problems(title_template: str, body_template: str) -> dict[str, str]:
    """Why the templates cannot be used, by field; each is tried on every sample."""
    found = {}
    for field, template in (("title_template", title_template), ("body_template", body_template)):
        try:
            for sample in SAMPLES.values() if template.strip() else ():
                render(template, context(sample))
        except TemplateProblem as problem:
            found[field] = str(problem)
    return found


def _anomaly(number: int, minutes: int, **changes: object) -> AnomalyData:
    values = {
        "id": f"0190c2f0-0000-5000-8000-{number:012}",
        "title": "Latency spike in chat-api (gpt-4o)",
        "description": "Answers took 15.2 s where 1.2 s is usual.",
        "severity": "critical",
        "status": "open",
        "anomaly_type": "latency_spike",
        "service": "chat-api",
        "model": "gpt-4o",
        "metric": "latency_ms",
        "detector": "zscore",
        "value": 15234.5,
        "baseline_mean": 1234.5,
        "baseline_stddev": 234.2,
        "z_score": 59.8,
        "occurrences": 3,
        "first_seen": START,
        "last_seen": START + timedelta(minutes=minutes),
        "url": LINK,
        "runbook_url": "https://wiki.example.com/runbooks/latency",
        "labels": {"team": "search"},
        "sample_trace_ids": ["4bf92f3577b34da6a3ce929d0e0e4736"],
    }
    return AnomalyData(**{**values, **changes})  # type: ignore[arg-type]


def _notice(type_: NoticeType, severity: str, *anomalies: AnomalyData) -> Notice:
    return Notice(
        type=type_,
        status="resolved" if type_ == NoticeType.RESOLVED else "firing",
        severity=severity,
        group_id="0190c2f0-0000-5000-8000-0000000000aa",
        anomalies=anomalies,
        count=len(anomalies),
        url=LINK,
        runbook_url="https://wiki.example.com/runbooks/latency",
        acknowledge_url="" if type_ == NoticeType.RESOLVED else "https://sentinel.example.com/alerts/acknowledge/…",
    )


_ONE = _anomaly(1, 2)
_COST = _anomaly(
    2,
    4,
    title="Cost spike in rag-api (claude-sonnet-4)",
    description="A call cost $0.84 where $0.06 is usual.",
    severity="warning",
    anomaly_type="cost_spike",
    service="rag-api",
    model="claude-sonnet-4",
    metric="cost_usd",
    labels={},
)
_UNKNOWN = _anomaly(
    3, 0, title="Silence of batch (gpt-4o-mini)", value=None, z_score=None, runbook_url=None, labels={}, occurrences=1
)
SAMPLES: dict[str, Notice] = {
    "one anomaly": _notice(NoticeType.OPENED, "critical", _ONE),
    "several anomalies": _notice(NoticeType.OPENED, "critical", _ONE, _COST, _UNKNOWN),
    "still going on": _notice(NoticeType.REPEATED, "critical", _anomaly(1, 245)),
    "without a value": _notice(NoticeType.OPENED, "warning", _UNKNOWN),
    "over": _notice(NoticeType.RESOLVED, "critical", _anomaly(1, 31, status="resolved")),
}
