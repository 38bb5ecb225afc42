"""What the dashboards show: one line for each panel, in the order of the page. `build` makes Grafana's JSON of it."""

from __future__ import annotations

from typing import NamedTuple

CONSUMERS = 'job=~"$job",instance=~"$instance"'
RATE = "[$__rate_interval]"


class Panel(NamedTuple):
    """`queries` maps legends to PromQL; `steps` are limits from which the colour changes to yellow and red."""

    title: str
    kind: str
    unit: str
    queries: dict[str, str]
    steps: tuple[float, ...] = ()
    description: str = ""
    per_service: bool = False


class Dashboard(NamedTuple):
    uid: str
    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str = "", labels: str = CONSUMERS) -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped}(rate({metric}{{{labels}}}{RATE}))"


def quantile(share: float, metric: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{CONSUMERS}}}{RATE})))"


def last(window: str, metric: str, by: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped}(increase({metric}{{{CONSUMERS}}}[{window}]))"


LATENCY = "sentinel_detection_latency_seconds"
ANOMALIES = "sentinel_anomalies_detected_total"

ANOMALY_DETECTION = Dashboard(
    "sentinel-anomalies",
    "Anomaly Detection",
    (
        Panel("Anomalies by severity", "timeseries", "cps", {"{{severity}}": rate(ANOMALIES, "severity")}),
        Panel("Anomaly rate", "gauge", "cps", {"": rate(ANOMALIES)}, (10, 50), "Above 50 a second an alert goes out."),
        Panel("Anomalies in the last 24 hours", "stat", "short", {"": last("24h", ANOMALIES)}),
        Panel("Types of anomalies", "barchart", "short", {"{{type}}": last("24h", ANOMALIES, "type")}),
        Panel(
            "Services with the most anomalies",
            "bargauge",
            "short",
            {"{{service}}": f"topk(10, {last('24h', ANOMALIES, 'service')})"},
            per_service=True,
        ),
        Panel(
            "Latency of detection",
            "timeseries",
            "s",
            {f"P{share}": quantile(share / 100, LATENCY) for share in (50, 95, 99)},
            (0.05, 0.1),
            "From an event in hand to its verdict.",
        ),
    ),
)

SYSTEM_HEALTH = Dashboard(
    "sentinel-health",
    "System Health",
    (
        Panel("Status", "stat", "bool_on_off", {"{{job}} {{instance}}": f"up{{{CONSUMERS}}}"}, description="1 is up."),
        Panel("Active instances", "stat", "short", {"": f"sum(up{{{CONSUMERS}}})"}),
        Panel("Uptime", "timeseries", "s", {"{{instance}}": f"time() - process_start_time_seconds{{{CONSUMERS}}}"}),
        Panel(
            "Memory",
            "timeseries",
            "bytes",
            {"{{instance}}": f"process_resident_memory_bytes{{{CONSUMERS}}}"},
            (1.5e9, 1.8e9),
        ),
        Panel(
            "CPU",
            "timeseries",
            "percentunit",
            {"{{instance}}": rate("process_cpu_seconds_total", "instance")},
            (0.8, 0.95),
        ),
        Panel("Events processed", "timeseries", "eps", {"events": rate("sentinel_events_processed_total")}),
        Panel(
            "Errors by component",
            "timeseries",
            "eps",
            {
                "ingestion {{type}}": rate("sentinel_ingestion_errors_total", "type"),
                "Kafka {{type}}": rate("sentinel_kafka_consumption_errors_total", "type"),
                "validation": rate("sentinel_validation_failures_total"),
                "detection": rate("sentinel_detection_errors_total"),
                "storage": rate("sentinel_storage_errors_total"),
                "alerting": rate("sentinel_alert_failures_total"),
            },
            (5, 10),
        ),
    ),
)

PERFORMANCE = Dashboard(
    "sentinel-performance",
    "Performance Metrics",
    (
        Panel(
            "Events processed", "timeseries", "eps", {"{{service}}": rate("sentinel_events_processed_total", "service")}
        ),
        Panel("Latency of detection, P95", "stat", "s", {"": quantile(0.95, LATENCY)}, (0.05, 0.1)),
        Panel(
            "Cache hits",
            "gauge",
            "percentunit",
            {
                "": f"{rate('sentinel_cache_hits_total')} / "
                f"({rate('sentinel_cache_hits_total')} + {rate('sentinel_cache_misses_total')})"
            },
        ),
        Panel(
            "Pipeline",
            "timeseries",
            "eps",
            {
                "from Kafka": rate("sentinel_kafka_messages_consumed_total"),
                "detected on": rate("sentinel_events_processed_total"),
                "stored": rate("sentinel_storage_writes_total"),
            },
        ),
        Panel("Writes to storage", "timeseries", "wps", {"writes": rate("sentinel_storage_writes_total")}),
        Panel(
            "Requests to the API",
            "timeseries",
            "reqps",
            {"{{method}}": rate("django_http_requests_total_by_method_total", "method")},
        ),
    ),
)

ALERT_OVERVIEW = Dashboard(
    "sentinel-alerts",
    "Alert Overview",
    (
        Panel("Alerts sent, last hour", "stat", "short", {"": last("1h", "sentinel_alerts_sent_total")}),
        Panel(
            "Alerts deduplicated, last hour", "stat", "short", {"": last("1h", "sentinel_alerts_deduplicated_total")}
        ),
        Panel("Alert failures, last hour", "stat", "short", {"": last("1h", "sentinel_alert_failures_total")}, (1, 10)),
        Panel(
            "Published to RabbitMQ",
            "timeseries",
            "cps",
            {"{{severity}}": rate("sentinel_rabbitmq_publishes_total", "severity")},
        ),
        Panel(
            "Webhook attempts that succeed",
            "gauge",
            "percentunit",
            {
                "": f"{rate('sentinel_webhook_deliveries_total')} / "
                f"({rate('sentinel_webhook_deliveries_total')} + {rate('sentinel_webhook_failures_total')})"
            },
        ),
        Panel(
            "Alerts by channel",
            "barchart",
            "short",
            {"{{channel}}": last("24h", "sentinel_alerts_sent_total", "channel")},
        ),
        Panel(
            "Waiting",
            "timeseries",
            "short",
            {"{{stage}}": f"max by (stage) (sentinel_alert_outbox_depth{{{CONSUMERS}}})"},
        ),
    ),
)

DASHBOARDS = (ANOMALY_DETECTION, SYSTEM_HEALTH, PERFORMANCE, ALERT_OVERVIEW)
