"""The admin of who may do what, and of who did what: people, tokens, lockouts, the audit trail."""

from sentinel_site.access.admin import lockouts, people, tokens, trail

__all__ = ["lockouts", "people", "tokens", "trail"]
