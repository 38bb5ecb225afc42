"""What may be spent in a day or a month, and who is to hear how much of it is gone."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import models

from alerting.models.limits import name_matcher
from alerting.models.problems import problems_of
from alerting.rules.active_hours import zone_named
from alerting.rules.budgets import problems_of_shares
from baselines.models import OwnedQuerySet, Project

MAX_AMOUNT = 1e12


def default_shares() -> list[float]:
    return [0.5, 0.8, 1.0]


class Budget(models.Model):
    """An amount per period for what services, models and users spend: together, or each of them by itself."""

    class Period(models.TextChoices):
        DAY = "day"
        MONTH = "month"

    class Per(models.TextChoices):
        ALL = "all", "all together"
        SERVICE = "service"
        MODEL = "model"
        USER = "user"

    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    amount = models.FloatField(help_text="dollars per period")
    period = models.CharField(max_length=8, choices=Period.choices, default=Period.MONTH)
    timezone = models.CharField(
        max_length=64, default="UTC", help_text="whose midnight a period begins at, as in Europe/Berlin"
    )
    service = models.CharField(max_length=128, default="*", help_text="name or pattern; * = every service")
    model = models.CharField(max_length=128, default="*", help_text="name or pattern; * = every model")
    user = models.CharField(max_length=256, default="*", help_text="name or pattern; * = everybody, known or not")
    per = models.CharField(
        max_length=8,
        choices=Per.choices,
        default=Per.ALL,
        help_text="who has the amount: all of them together, or each service, model or user for itself",
    )
    shares = models.JSONField(default=default_shares, help_text="that are told of when they are spent: 0.8 = 80 %")
    warns_ahead = models.BooleanField(
        default=False, help_text="tell also, once a period, that it will run out before the period ends"
    )
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="budgets", help_text="none = all"
    )
    state = models.JSONField(null=True, editable=False, help_text="how it stands, as of the last look at it")
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
            # A user is no fact that rules know; a pattern is one wherever it stands.
            (lambda pattern: name_matcher("service", pattern), "user", self.user),
            (lambda name: zone_named("it", name), "timezone", self.timezone),
        )
        if self.amount is not None and not (math.isfinite(self.amount) and 0 < self.amount <= MAX_AMOUNT):
            errors["amount"] = [f"must be above 0 and at most {MAX_AMOUNT:,.0f} dollars"]
        if problem := problems_of_shares(self.shares):
            errors["shares"] = [problem]
        if errors:
            raise ValidationError(errors)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def is_of_users(self) -> bool:
        """Whether it asks who called: then it knows only of those who spend the most."""
        return self.per == self.Per.USER or self.user != "*"
