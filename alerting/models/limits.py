"""Limits that people set because they know them: static thresholds."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models

from alerting.models.problems import problems_of
from alerting.rules.limits import AGGREGATIONS, METRICS, NO_DATA, OPERATORS, Limit, problems_of_limit
from alerting.rules.matching import Matcher, parse_matchers
from anomalies.models import Severity
from baselines.models import OwnedQuerySet, Project


def name_matcher(field: str, pattern: str) -> Matcher:
    """A name or glob as a matcher of a fact. Raises MatcherError, a ValueError, where it is none."""
    return parse_matchers([{"field": field, "op": "glob", "value": pattern}])[0]


def _choices(names: object) -> list[tuple[str, str]]:
    return [(name, name) for name in names]  # type: ignore[attr-defined]


class Threshold(models.Model):
    """What is never to be exceeded by a model as a service calls it; each such pair is judged by itself."""

    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    service = models.CharField(max_length=128, default="*", help_text="name or pattern; * = every service")
    model = models.CharField(max_length=128, default="*", help_text="name or pattern; * = every model")
    metric = models.CharField(max_length=32, choices=_choices(METRICS))
    aggregation = models.CharField(
        max_length=8,
        choices=_choices(AGGREGATIONS),
        help_text="of the calls of a window: p50, p75, p90, p95, p99, max (within some 3 %); "
        "of the minutes of a window, for metrics of minutes: mean, min, max",
    )
    window = models.PositiveIntegerField(default=5, help_text="minutes")
    operator = models.CharField(max_length=2, choices=_choices(OPERATORS), default=">", help_text="breached when it is")
    value = models.FloatField(help_text="in the unit of the metric: ms, tokens, dollars; of error_rate 0.05 = 5 %")
    no_data = models.CharField(
        max_length=8,
        choices=_choices(NO_DATA),
        default="keep",
        help_text="a window without calls counts as: keep (it changes nothing), ok, breach",
    )
    breaches = models.PositiveIntegerField(default=1, help_text="so many windows must be beyond the limit …")
    out_of = models.PositiveIntegerField(default=1, help_text="… of the last so many, one a minute")
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="thresholds", help_text="none = all"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Everything must be usable as it is; what is not is said by field, all at once."""
        errors = problems_of(
            (lambda pattern: name_matcher("service", pattern), "service", self.service),
            (lambda pattern: name_matcher("model", pattern), "model", self.model),
        )
        if None not in (self.window, self.value, self.breaches, self.out_of):
            errors |= problems_of_limit(self.limit())
        if errors:
            raise ValidationError(errors)

    def limit(self) -> Limit:
        """What it says, without whom it concerns."""
        return Limit(**{name: getattr(self, name) for name in Limit.__slots__})
