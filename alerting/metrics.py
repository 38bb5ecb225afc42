"""What alerting counts. Each metric is named here and nowhere else."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ALERTS_SENT = Counter("sentinel_alerts_sent_total", "Alerts that a channel accepted.", ["channel"])
ALERTS_DEDUPLICATED = Counter(
    "sentinel_alerts_deduplicated_total", "Alerts held back because the channel had heard the same within the window."
)
ALERT_FAILURES = Counter(
    "sentinel_alert_failures_total",
    "Attempts that failed, by channel and by whether another one can help.",
    ["channel", "permanent"],
)
RABBITMQ_PUBLISHES = Counter(
    "sentinel_rabbitmq_publishes_total", "Alerts that RabbitMQ confirmed, by severity.", ["severity"]
)
WEBHOOK_DELIVERIES = Counter("sentinel_webhook_deliveries_total", "Alerts that a webhook's receiver accepted.")
WEBHOOK_FAILURES = Counter("sentinel_webhook_failures_total", "Attempts at a webhook that failed.")
ATTEMPT_SECONDS = Histogram(
    "sentinel_alert_attempt_seconds",
    "How long one attempt took, by kind of channel.",
    ["kind"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
DELIVERIES_DEAD = Counter("sentinel_deliveries_dead_total", "Deliveries given up, to be replayed by hand.", ["channel"])
OWN_NEWS = Counter(
    "sentinel_own_news_total",
    "Attempts to tell of LLM-Sentinel itself (a channel fails or works again, a silence ends), by what came of it.",
    ["channel", "event", "outcome"],
)
OUTBOX_DEPTH = Gauge(
    "sentinel_alert_outbox_depth",
    "Alerts not routed yet and deliveries not ended yet, as of the last sweep.",
    ["stage"],
    multiprocess_mode="mostrecent",
)
OUTBOX_AGE = Gauge(
    "sentinel_alert_outbox_oldest_seconds",
    "Age of the oldest alert not routed yet, and how long the latest delivery is overdue; as of the last sweep.",
    ["stage"],
    multiprocess_mode="mostrecent",
)
DELIVERIES_LEFT_DEAD = Gauge(
    "sentinel_deliveries_left_dead",
    "Deliveries that were given up and not replayed, as of the last sweep.",
    multiprocess_mode="mostrecent",
)
LAST_SWEEP = Gauge(
    "sentinel_last_sweep_timestamp_seconds",
    "When the outbox was last swept (unix time).",
    multiprocess_mode="mostrecent",
)
ALERTS_ROUTED = Counter("sentinel_alerts_routed_total", "Alerts that left the outbox for groups, or for nobody.")
CHANNELS = Gauge(
    "sentinel_channels",
    "Channels by state: working, failing (its circuit is open), disabled; as of the last look.",
    ["state"],
    multiprocess_mode="mostrecent",
)
BUDGET_SPENT = Gauge(
    "sentinel_budget_spent_usd",
    "Dollars spent of each of the first hundred budgets in its period; of several accounts the greatest.",
    ["budget"],
    multiprocess_mode="mostrecent",
)
BUDGET_SHARE = Gauge(
    "sentinel_budget_spent_ratio",
    "The same as a share of the amount: 1 = all of it.",
    ["budget"],
    multiprocess_mode="mostrecent",
)
