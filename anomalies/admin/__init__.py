"""The admin of what departed from normal."""

from anomalies.admin import anomalies, incidents

__all__ = ["anomalies", "incidents"]
