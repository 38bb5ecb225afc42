"""Where alerts go: channels, with their secrets, their templates and the state of their health."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from alerting.channels import setting_problems
from alerting.channels.samples import template_problems
from alerting.secrets import EncryptedTextField
from baselines.models import OwnedQuerySet, Project


class Channel(models.Model):
    """A place alerts are delivered to. One that the configuration file makes is read-only (`origin`)."""

    class Kind(models.TextChoices):
        RABBITMQ = "rabbitmq", "RabbitMQ"
        WEBHOOK = "webhook", "Webhook"
        SLACK = "slack", "Slack"
        PAGERDUTY = "pagerduty", "PagerDuty"
        TEAMS = "teams", "Microsoft Teams"
        EMAIL = "email", "E-mail"
        ALERTMANAGER = "alertmanager", "Alertmanager"

    class Origin(models.TextChoices):
        OPERATOR = "operator"
        CONFIG = "config"

    HEALTH = ("failing_since", "failure_count", "last_error", "retry_at", "told_failing_since", "telling_until")
    """What the program notes and nobody sets."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=200, blank=True)
    config = models.JSONField(default=dict, blank=True, help_text="settings of the kind, e.g. url")
    secret = EncryptedTextField(blank=True, help_text="write-only; encrypted at rest")
    title_template = models.TextField(blank=True, help_text="empty = the built-in title")
    body_template = models.TextField(blank=True, help_text="empty = the built-in text")
    rate_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="messages per minute, what exceeds it is told in a summary; empty = as is usual for the kind",
    )
    failing_since = models.DateTimeField(null=True, blank=True, editable=False, help_text="null = it works")
    failure_count = models.PositiveIntegerField(default=0, editable=False, help_text="attempts that failed in a row")
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    retry_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="not tried before")
    told_failing_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="since when it fails, as the other channels were told"
    )
    telling_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="a worker tells the others until then"
    )
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="channels", help_text="none = all"
    )
    origin = models.CharField(max_length=8, choices=Origin.choices, default=Origin.OPERATOR, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """The settings must fit the kind; what is wrong is said per key."""
        if self.origin == self.Origin.CONFIG:
            return  # the configuration was checked when it was loaded
        problems = setting_problems(self.kind, self.config, self.secret)
        errors: dict[str, Any] = dict(template_problems(self.title_template, self.body_template))
        if "secret" in problems:
            errors["secret"] = problems.pop("secret")
        if problems:
            errors["config"] = [f"{key} {problem}" for key, problem in problems.items()]
        if errors:
            raise ValidationError(errors)
