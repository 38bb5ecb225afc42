"""The whole configuration as one immutable object. `load_config` makes it; apps read it as `settings.SENTINEL`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from pydantic import PrivateAttr

from sentinel_site.config.access import AccessConfig
from sentinel_site.config.alerting import AlertingConfig
from sentinel_site.config.base import Section
from sentinel_site.config.dashboard import DashboardConfig
from sentinel_site.config.detection import DetectionConfig
from sentinel_site.config.ingestion import IngestionConfig
from sentinel_site.config.site import ApiConfig, CeleryConfig, LoggingConfig, SecurityConfig
from sentinel_site.config.storage import DatabaseConfig, StorageConfig


@dataclass(frozen=True)
class Origin:
    """Where a configuration came from."""

    file: Path | None = None
    places: dict[str, str] = field(default_factory=dict)
    """By dotted key, where its value was set; keys left at their default are absent."""
    warnings: tuple[str, ...] = ()
    """What was understood but will not act as its author may think."""


class Config(Section):
    environment: Literal["development", "production"] = "production"
    """production refuses missing or well-known secrets and open doors; development allows them."""
    standalone: bool = False
    """Whether everything runs embedded in one process, without outside services."""
    ingestion: IngestionConfig = IngestionConfig()
    detection: DetectionConfig = DetectionConfig()
    storage: StorageConfig = StorageConfig()
    database: DatabaseConfig = DatabaseConfig()
    alerting: AlertingConfig = AlertingConfig()
    api: ApiConfig = ApiConfig()
    access: AccessConfig = AccessConfig()
    dashboard: DashboardConfig = DashboardConfig()
    celery: CeleryConfig = CeleryConfig()
    logging: LoggingConfig = LoggingConfig()
    security: SecurityConfig = SecurityConfig()

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def origin(self) -> Origin:
        """Where it came from, with the warnings; empty when it was not loaded but constructed."""
        return self._origin

    def with_origin(self, origin: Origin) -> Self:
        """This configuration, knowing where it came from."""
        self._origin = origin
        return self

    @property
    def is_production(self) -> bool:
        return self.environment == "production"

    def celery_broker_url(self) -> str:
        """Celery's broker, secrets revealed: `celery.broker_url`, else RabbitMQ of `alerting.rabbitmq`."""
        chosen = self.celery.broker_url
        return chosen.get_secret_value() if chosen else self.alerting.rabbitmq.url_with_credentials()
