"""The admin of what departed from normal, what people made of it, and what is judged differently."""

from anomalies.admin import anomalies, feedback, incidents, overrides

__all__ = ["anomalies", "feedback", "incidents", "overrides"]
