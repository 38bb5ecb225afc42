"""What keeps alerts from being told for a while: silences, maintenance windows, inhibition."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from alerting.models.problems import problems_of
from alerting.rules.active_hours import parse_active_hours
from alerting.rules.group_by import parse_group_by
from alerting.rules.matching import Matcher, MatcherError, parse_matchers
from baselines.models import OwnedQuerySet, Project

STATES = ("pending", "active", "ended")


def parse_some_matchers(data: object) -> tuple[Matcher, ...]:
    """Matchers of which there is at least one: nobody is to silence everything by an empty form."""
    found = parse_matchers(data)
    if not found:
        raise MatcherError('needs at least one; for everything say {"field": "service", "op": "glob", "value": "*"}')
    return found


def state_of(starts_at: datetime, ends_at: datetime, now: datetime) -> str:
    """One of STATES."""
    if ends_at <= now:
        return "ended"
    return "active" if starts_at <= now else "pending"


class SilenceQuerySet(OwnedQuerySet):
    def current(self, now: datetime) -> SilenceQuerySet:
        """Those that have begun and have not ended, recurring ones whether or not their window is open."""
        return self.filter(starts_at__lte=now, ends_at__gt=now)


class Silence(models.Model):
    """Nothing is told of what it matches while it lasts. Rows are never deleted: one is ended early instead."""

    class Kind(models.TextChoices):
        SILENCE = "silence"
        MAINTENANCE = "maintenance"

    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.SILENCE)
    matchers = models.JSONField(
        default=list, blank=True, help_text='all must hold: [{"field", "op": "exact|glob|regex|not", "value"}]'
    )
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()
    weekly: Any = models.JSONField(
        null=True,
        blank=True,
        help_text='maintenance only, within starts_at and ends_at: {"timezone", "days", "start", "end"} or a list',
    )
    comment = models.TextField(blank=True)
    author = models.CharField(max_length=150, blank=True, editable=False, help_text="who, as it was called then")
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="silences", help_text="none = all"
    )
    announced_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="when it was told that it is about to end"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SilenceQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at", "-id"]
        indexes = [models.Index(fields=["ends_at"], name="silence_end")]

    def __str__(self) -> str:
        return f"{self.kind} by {self.author or 'somebody'}: {self.comment or self.matchers}"

    def clean(self) -> None:
        """Everything must be usable as it is; what is not is said by field, all at once."""
        errors = problems_of(
            (parse_some_matchers, "matchers", self.matchers), (parse_active_hours, "weekly", self.weekly)
        )
        if self.weekly is not None and self.kind != self.Kind.MAINTENANCE:
            errors["weekly"] = ["is for maintenance only: a silence lasts from starts_at to ends_at"]
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            errors["ends_at"] = ["must be after starts_at"]
        if errors:
            raise ValidationError(errors)

    def state(self, now: datetime) -> str:
        """Whether it is to come, lasts, or is over; of a recurring one whether or not its window is open."""
        return state_of(self.starts_at, self.ends_at, now)

    def end(self, now: datetime) -> bool:
        """End it now, if it is not over; whether it was not. One that has not begun never will."""
        if self.ends_at <= now:
            return False
        self.ends_at = now
        self.starts_at = min(self.starts_at, now)
        self.save(update_fields=["starts_at", "ends_at", "updated_at"])
        return True


class Inhibition(models.Model):
    """While something matches `source_matchers`, what matches `target_matchers` and equals it in `equal` is held.

    With `min_services` above 1 so many services must have a source; then all but the oldest source are held too.
    """

    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    source_matchers = models.JSONField(default=list, blank=True)
    target_matchers = models.JSONField(default=list, blank=True)
    equal = models.JSONField(default=list, blank=True, help_text='facts that must be equal: ["provider"]')
    min_services = models.PositiveIntegerField(default=1)
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="inhibitions", help_text="none = all"
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
            (parse_some_matchers, "source_matchers", self.source_matchers),
            (parse_matchers, "target_matchers", self.target_matchers),
            (parse_group_by, "equal", self.equal),
        )
        if self.min_services is not None and self.min_services < 1:
            errors["min_services"] = ["must be at least 1"]
        if errors:
            raise ValidationError(errors)
