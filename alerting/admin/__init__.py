"""The admin of alerting: what is told to whom and what is not, and what became of it."""

from alerting.admin import channels, history, limits, rules, silences

__all__ = ["channels", "history", "limits", "rules", "silences"]
