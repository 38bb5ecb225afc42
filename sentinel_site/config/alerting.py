"""Section `alerting`: the configuration's own channels, deduplication, ages."""

from typing import Annotated, Literal

from pydantic import Field, IPvAnyNetwork, SecretStr

from sentinel_site.config.base import Count, HttpUrl, Milliseconds, Seconds, Section, Text, matching, url_of
from sentinel_site.config.urls import with_credentials

Multiplier = Annotated[float, Field(ge=1)]
Patience = Annotated[float, Field(ge=0)]


class RetryConfig(Section):
    max_attempts: Count = 3
    """Fast attempts, before the slow rounds."""
    initial_delay_ms: Milliseconds = 1000
    """Milliseconds before the second attempt, at most (full jitter)."""
    backoff_multiplier: Multiplier = 2.0
    """Factor from each delay to the next."""
    max_delay_ms: Milliseconds = 30_000
    """Milliseconds no fast delay exceeds."""


class RabbitmqConfig(Section):
    enabled: bool = True
    """Whether the channel config:rabbitmq exists."""
    url: Annotated[str, url_of("amqp", "amqps", "memory")] = "amqp://localhost:5672"
    """Address of RabbitMQ, with its virtual host as the path."""
    username: Text = "sentinel"
    """User name, unless the URL has one."""
    password: SecretStr | None = None
    """Password (secret; RABBITMQ_PASSWORD), unless the URL has one."""
    exchange: Text = "sentinel.alerts"
    """Durable exchange alerts are published to."""
    exchange_type: Literal["topic"] = "topic"
    """Receivers select by severity, service and type; only a topic exchange can."""
    routing_key_prefix: Annotated[str, matching(r"[A-Za-z0-9_-]+", "letters, digits, - or _")] = "alert"
    """First word of <prefix>.<severity>.<service>.<anomaly_type>."""
    persistent: bool = True
    """Whether messages survive a restart of the broker."""
    timeout_secs: Seconds = 10.0
    """Seconds to connect, and to wait for the broker's confirm."""
    retry_config: RetryConfig = RetryConfig()

    def url_with_credentials(self) -> str:
        """The URL for a client, secret revealed."""
        return with_credentials(self.url, self.username, self.password)


class WebhookConfig(Section):
    enabled: bool = False
    """Whether the channel config:webhook exists."""
    url: HttpUrl | None = None
    """Where alerts are sent; required when enabled."""
    method: Literal["POST", "PUT"] = "POST"
    """HTTP method."""
    secret: SecretStr | None = None
    """Signing key (secret; WEBHOOK_SECRET): whsec_ and base64, or raw bytes; required when enabled."""
    timeout_secs: Seconds = 10.0
    """Seconds for one attempt in all."""
    max_retries: Count = 3
    """Fast attempts, before the slow rounds."""
    retry_delay_ms: Milliseconds = 1000
    """Milliseconds before the second attempt, at most (full jitter)."""
    backoff_multiplier: Multiplier = 2.0
    """Factor from each delay to the next."""
    allowed_private_networks: tuple[IPvAnyNetwork, ...] = ()
    """Private networks (CIDR) that webhooks of any channel may reach; none by default."""


class EmailConfig(Section):
    host: Text | None = None
    """SMTP server of the e-mail channels that name none of their own."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Its port."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """starttls (port 587), tls from the first byte (port 465), or none."""
    username: Text | None = None
    """User name, if the server wants one."""
    password: SecretStr | None = None
    """Password (secret)."""
    from_address: Text | None = None
    """Sender, as in LLM-Sentinel <alerts@example.com>."""


class DeduplicationConfig(Section):
    enabled: bool = True
    """Whether the same alert is held back within the window."""
    window_secs: Seconds = 300.0
    """Seconds from the last delivered alert during which the same is not sent again."""


class GroupingConfig(Section):
    """How the built-in rule tells anomalies together; every other rule says so itself."""

    wait_secs: Patience = 0.0
    """Seconds a new group waits for more of the same incident."""
    interval_secs: Patience = 30.0
    """Seconds between two messages about the growth of a group."""
    repeat_secs: Seconds = 14_400.0
    """Seconds after which what still lasts is told again."""


class BatchConfig(Section):
    max_size: Count = 100
    """So many new anomalies in a group wait for no more; their age is limited by the group's wait."""


class AlertingConfig(Section):
    rabbitmq: RabbitmqConfig = RabbitmqConfig()
    webhook: WebhookConfig = WebhookConfig()
    email: EmailConfig = EmailConfig()
    deduplication: DeduplicationConfig = DeduplicationConfig()
    grouping: GroupingConfig = GroupingConfig()
    batch: BatchConfig = BatchConfig()
    reopen_grace: Patience = 600.0
    """Seconds after its end in which a group that fires again is reopened rather than opened anew."""
    max_event_age: Seconds = 900.0
    """Seconds; an older event (a backfill, a catch-up) is recorded but not sent."""
    give_up_after: Seconds = 86_400.0
    """Seconds of slow rounds after which a delivery is dead (and can be replayed)."""
