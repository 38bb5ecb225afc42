"""Section `ingestion`: Kafka, decoding, validation, privacy, dead letters."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from ingestion.pricing import read_table
from ingestion.privacy.policy import Action, Policy
from sentinel_site.config.base import (
    Count,
    CountOrZero,
    HostPort,
    Milliseconds,
    Positive,
    PositiveOrZero,
    Seconds,
    Section,
    Share,
    Text,
    Topic,
)

OWN_PROPERTIES = {
    "auto.offset.reset": "ingestion.kafka.auto_offset_reset",
    "bootstrap.servers": "ingestion.kafka.brokers",
    "enable.auto.commit": "nothing: the pipeline commits by itself, after the effects are durable",
    "enable.auto.offset.store": "nothing: the pipeline commits by itself, after the effects are durable",
    "group.id": "ingestion.kafka.group_id",
    "group.instance.id": "ingestion.kafka.group_instance_id",
    "metadata.broker.list": "ingestion.kafka.brokers",
    "partitioner": "nothing: all producers must agree on murmur2_random, or a series is split",
    "session.timeout.ms": "ingestion.kafka.session_timeout_ms",
}


def _librdkafka_properties(properties: dict[str, Any]) -> dict[str, Any]:
    for name, value in properties.items():
        if name in OWN_PROPERTIES:
            raise ValueError(f'may not set "{name}"; use {OWN_PROPERTIES[name]}')
        _require_scalar(name, value)
    return properties


def _require_scalar(name: str, value: Any) -> None:
    # ValueError, as pydantic turns only that (and AssertionError) into an error of the key.
    if not isinstance(value, str | int | float):
        raise ValueError(f'"{name}" must be text, a number, true or false')


class KafkaSecurityConfig(Section):
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How brokers are spoken to."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"] | None = None
    """SASL mechanism, required by the SASL protocols."""
    sasl_username: Text | None = None
    """SASL user name."""
    sasl_password: SecretStr | None = None
    """SASL password (secret)."""
    ssl_ca_location: Text | None = None
    """File or folder of the certificate authorities (PEM); the system's when empty."""
    ssl_certificate_location: Text | None = None
    """File of the client's certificate (PEM), for mutual TLS."""
    ssl_key_location: Text | None = None
    """File of the client's private key (PEM), for mutual TLS."""
    ssl_key_password: SecretStr | None = None
    """Password of the client's private key (secret)."""
    verify_hostname: bool = True
    """Whether a broker's certificate must be for its host name."""

    def properties(self) -> dict[str, Any]:
        """librdkafka's names for what is set here, secrets revealed."""
        named = {
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password and self.sasl_password.get_secret_value(),
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": self.ssl_key_password and self.ssl_key_password.get_secret_value(),
        }
        chosen = {name: value for name, value in named.items() if value is not None}
        if not self.verify_hostname:
            chosen["ssl.endpoint.identification.algorithm"] = "none"
        return {"security.protocol": self.protocol, **chosen}


class KafkaConfig(Section):
    brokers: Annotated[tuple[HostPort, ...], Field(min_length=1)] = ("localhost:9092",)
    """Bootstrap brokers, each host:port."""
    topic: Topic = "llm.telemetry"
    """Topic of native events, keyed service|model."""
    detections_topic: Topic = "llm.detections"
    """Topic to which the detect role publishes every single detection."""
    dead_letter_topic: Topic = "llm.telemetry.dlq"
    """Topic that takes what cannot be used, with its reason."""
    group_id: Topic = "sentinel-consumer"
    """Stem of the consumer groups; each role appends its own name: -detect, -store, -normalize."""
    group_instance_id: Topic | None = None
    """Name stable over restarts (a StatefulSet's pod name); turns on static membership."""
    session_timeout_ms: Annotated[int, Field(ge=1000, le=3_600_000)] = 6000
    """Milliseconds without heartbeat after which a consumer's partitions move; heartbeats every third of it."""
    max_poll_interval_ms: Milliseconds = 300_000
    """Milliseconds a consumer may work on one batch before its partitions move."""
    auto_offset_reset: Literal["earliest", "latest", "error"] = "latest"
    """Where a new group begins; an offset out of range always raises an alarm and begins at the earliest."""
    max_poll_records: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Largest number of messages in one batch."""
    security: KafkaSecurityConfig = KafkaSecurityConfig()
    extra: Annotated[dict[str, Any], AfterValidator(_librdkafka_properties)] = Field(default_factory=dict)
    """Further librdkafka properties, by their own dotted names."""

    def group(self, role: Literal["detect", "store", "normalize"]) -> str:
        """The consumer group of a role. Roles have groups of their own so that a slow store delays only itself."""
        return f"{self.group_id}-{role}"

    @property
    def heartbeat_interval_ms(self) -> int:
        """A third of the session time-out: two lost heartbeats move no partition."""
        return self.session_timeout_ms // 3

    def connection(self) -> dict[str, Any]:
        """librdkafka properties that any client needs (brokers, security, `extra`), secrets revealed."""
        return {"bootstrap.servers": ",".join(self.brokers), **self.security.properties(), **self.extra}


class ParsingConfig(Section):
    max_text_length: CountOrZero = 10_000
    """Characters of a prompt, response or error text beyond which it is cut."""
    enable_sanitization: bool = True
    """Whether values of metadata whose keys match sanitize_patterns are masked."""
    sanitize_patterns: tuple[Text, ...] = ("password", "api_key", "secret")
    """Parts of metadata keys (case does not matter) whose values are masked."""


class ValidationConfig(Section):
    min_latency_ms: PositiveOrZero = 0.1
    """Milliseconds; a shorter latency is raised to it, marked and counted."""
    max_latency_ms: Positive = 300_000.0
    """Milliseconds; a longer latency is clamped to it, marked and counted."""
    max_tokens: Count = 100_000
    """Tokens per call; more are clamped to it, marked and counted."""
    max_cost_usd: Positive = 100.0
    """US dollars per call; more is clamped to it, marked and counted."""
    enable_pii_detection: bool = True
    """Whether personal data is searched for and masked before every sink."""
    max_future_seconds: Seconds = 300.0
    """Seconds an event may lie ahead of its arrival; beyond, its time is clamped and counted."""


class PrivacyConfig(Section):
    capture_text: bool = False
    """Whether prompt and response texts are kept (scrubbed); false drops them before every sink."""
    action: Action = "mask"
    """What stands in place of private data: mask ([email]), hash (a keyed digest), drop (nothing); keep leaves it."""
    actions: dict[str, Action] = Field(default_factory=dict)
    """The same for single kinds: private_key, jwt, api_key, bearer, email, iban, card, ip, ssn, phone, and your own."""
    patterns: dict[str, str] = Field(default_factory=dict)
    """Kinds of your own by name, each a pattern of RE2, as in {employee: "E-[0-9]{6}"}."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        # The key of the digests is the pepper, which is another section's.
        Policy(self.action, self.actions, self.patterns, key=b"the pepper")
        return self


def _readable_table(path: Path) -> Path:
    read_table(path)  # PriceTableError says what is wrong and where
    return path


class PricingConfig(Section):
    table: Annotated[Path, AfterValidator(_readable_table)] | None = None
    """File of prices for calls that do not say what they cost; config/prices.yaml beside manage.py when empty."""
    mismatch_tolerance: Share = 0.05
    """Share of the computed cost (0 to 1) by which a reported cost may differ before it is counted as a mismatch."""


class DeadLettersConfig(Section):
    on_limit: Literal["continue", "stop"] = "continue"
    """What a consumer does beyond the limits below: raise the alarm and go on, or stop."""
    max_consecutive: Count = 50
    """Invalid messages in a row that raise the alarm."""
    max_share: Share = 0.05
    """Share of invalid messages (0 to 1) among the last `window` that raises the alarm."""
    window: Count = 1000
    """Messages over which max_share is taken."""
    max_payload_bytes: Count = 65_536
    """Bytes of the original message kept in a dead letter."""


class OtlpConfig(Section):
    require_token: bool = True
    """Whether OTLP over HTTP needs an API token with the scope ingest."""
    max_body_size: Count = 20_971_520
    """Bytes of an OTLP request's body, decompressed, at most."""
    metrics: Literal["auto", "always", "never"] = "auto"
    """Whether GenAI metrics count as calls; auto: unless spans of the same service and model came in the last hour."""


RecordEncoding = Literal["auto", "otlp_proto", "otlp_json"]


class NormalizeConfig(Section):
    spans_topic: Topic | None = "otlp_spans"
    """Topic of traces, as OpenTelemetry Collector's Kafka exporter writes it; null reads none."""
    spans_encoding: RecordEncoding = "auto"
    """Encoding of its records; auto tells each by its first byte."""
    metrics_topic: Topic | None = "otlp_metrics"
    """Topic of metrics; null reads none."""
    metrics_encoding: RecordEncoding = "auto"
    """Encoding of its records."""
    logs_topic: Topic | None = "otlp_logs"
    """Topic of log records; null reads none."""
    logs_encoding: RecordEncoding = "auto"
    """Encoding of its records."""
    native_topics: tuple[Topic, ...] = ()
    """Topics of native events without the key service|model, or several to a message (JSON arrays)."""

    def topics(self) -> list[str]:
        """All topics that are read, in the order in which their records are taken in."""
        otlp = (self.spans_topic, self.logs_topic, self.metrics_topic)
        return [*self.native_topics, *(topic for topic in otlp if topic is not None)]


class IngestionConfig(Section):
    kafka: KafkaConfig = KafkaConfig()
    normalize: NormalizeConfig = NormalizeConfig()
    parsing: ParsingConfig = ParsingConfig()
    validation: ValidationConfig = ValidationConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    pricing: PricingConfig = PricingConfig()
    dead_letters: DeadLettersConfig = DeadLettersConfig()
    otlp: OtlpConfig = OtlpConfig()
    dedup_window: CountOrZero = 50_000
    """Recent (service, event_id) pairs per partition among which a repeated event is recognised."""
    checkpoint_interval_ms: Milliseconds = 1000
    """Milliseconds between two flushes of detection state and offset to Redis, at most."""
    writer_queue_events: Count = 50_000
    """Events that may wait for the telemetry writer; when full, the store role pauses its partitions."""

    @model_validator(mode="after")
    def _has_no_circle(self) -> Self:
        kafka, read = self.kafka, self.normalize.topics()
        if twice := {topic for topic in read if read.count(topic) > 1}:
            raise ValueError(f"normalize names {min(twice)} twice; each topic holds one kind of record")
        if own := {kafka.topic, kafka.detections_topic, kafka.dead_letter_topic} & set(read):
            raise ValueError(f"normalize may not read {min(own)}, which this product writes itself")
        return self
