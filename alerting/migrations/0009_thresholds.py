"""Limits that people set because they know them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerting", "0008_deliveries_of_notifications"),
        ("baselines", "0007_provider_of_models"),
    ]

    operations = [
        migrations.CreateModel(
            name="Threshold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "service",
                    models.CharField(default="*", help_text="name or pattern; * = every service", max_length=128),
                ),
                ("model", models.CharField(default="*", help_text="name or pattern; * = every model", max_length=128)),
                (
                    "metric",
                    models.CharField(
                        choices=[
                            ("latency_ms", "latency_ms"),
                            ("ttft_ms", "ttft_ms"),
                            ("prompt_tokens", "prompt_tokens"),
                            ("completion_tokens", "completion_tokens"),
                            ("total_tokens", "total_tokens"),
                            ("cost_usd", "cost_usd"),
                            ("request_rate", "request_rate"),
                            ("error_rate", "error_rate"),
                            ("cost_per_minute", "cost_per_minute"),
                            ("tokens_per_minute", "tokens_per_minute"),
                        ],
                        max_length=32,
                    ),
                ),
                (
                    "aggregation",
                    models.CharField(
                        choices=[
                            ("p50", "p50"),
                            ("p75", "p75"),
                            ("p90", "p90"),
                            ("p95", "p95"),
                            ("p99", "p99"),
                            ("max", "max"),
                            ("mean", "mean"),
                            ("min", "min"),
                        ],
                        help_text="of the calls of a window: p50, p75, p90, p95, p99, max (within some 3 %); of the minutes of a window, for metrics of minutes: mean, min, max",
                        max_length=8,
                    ),
                ),
                ("window", models.PositiveIntegerField(default=5, help_text="minutes")),
                (
                    "operator",
                    models.CharField(
                        choices=[(">", ">"), (">=", ">="), ("<", "<"), ("<=", "<=")],
                        default=">",
                        help_text="breached when it is",
                        max_length=2,
                    ),
                ),
                (
                    "value",
                    models.FloatField(
                        help_text="in the unit of the metric: ms, tokens, dollars; of error_rate 0.05 = 5 %"
                    ),
                ),
                (
                    "no_data",
                    models.CharField(
                        choices=[("keep", "keep"), ("ok", "ok"), ("breach", "breach")],
                        default="keep",
                        help_text="a window without calls counts as: keep (it changes nothing), ok, breach",
                        max_length=8,
                    ),
                ),
                (
                    "breaches",
                    models.PositiveIntegerField(default=1, help_text="so many windows must be beyond the limit …"),
                ),
                ("out_of", models.PositiveIntegerField(default=1, help_text="… of the last so many, one a minute")),
                (
                    "severity",
                    models.CharField(
                        choices=[("info", "Info"), ("warning", "Warning"), ("critical", "Critical")],
                        default="warning",
                        max_length=8,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        help_text="none = all",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="thresholds",
                        to="baselines.project",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
    ]
