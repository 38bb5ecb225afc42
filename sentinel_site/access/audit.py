"""The audit trail: which models are watched, and what of them must never be written down."""

from __future__ import annotations

from auditlog.registry import auditlog
from django.contrib.auth.models import Group, User

from alerting.models import AlertRule, Budget, Channel, EscalationStep, Inhibition, SeverityChannel, Silence, Threshold
from anomalies.models import DetectionOverride
from baselines.models import Annotation, Project, ServedModel, Service
from sentinel_site.access.models import ApiToken, ExternalIdentity


def masked(value: str) -> str:
    """What the trail shows instead of a secret: that there was one, nothing of it."""
    return "********" if value not in ("", "None") else value


def register_models() -> None:
    """Watch what people set. Called once, when the applications are ready."""
    mask = f"{__name__}.{masked.__name__}"
    auditlog.register(AlertRule, m2m_fields={"channels"}, exclude_fields=["updated_at"])
    auditlog.register(SeverityChannel)
    auditlog.register(EscalationStep)
    auditlog.register(Silence, exclude_fields=["updated_at", "announced_at"])
    auditlog.register(Threshold, exclude_fields=["updated_at"])
    auditlog.register(Budget, exclude_fields=["updated_at", "state"])
    auditlog.register(Inhibition, exclude_fields=["updated_at"])
    auditlog.register(
        Channel, mask_fields=["secret"], mask_callable=mask, exclude_fields=["updated_at", *Channel.HEALTH]
    )
    auditlog.register(ApiToken, mask_fields=["digest", "prefix"], mask_callable=mask, exclude_fields=["last_used_at"])
    auditlog.register(
        User,
        m2m_fields={"groups", "user_permissions"},
        mask_fields=["password"],
        mask_callable=mask,
        exclude_fields=["last_login"],
    )
    auditlog.register(Group, m2m_fields={"permissions"})
    auditlog.register(ExternalIdentity)
    auditlog.register(Project, m2m_fields={"members"})
    auditlog.register(DetectionOverride, exclude_fields=["updated_at"])
    auditlog.register(Annotation)
    auditlog.register(ServedModel, include_fields=["retired_at"])
    auditlog.register(Service, exclude_fields=["last_seen"])
