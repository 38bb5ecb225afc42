"""The admin of what departed from normal, and of what is judged differently."""

from anomalies.admin import anomalies, incidents, overrides

__all__ = ["anomalies", "incidents", "overrides"]
