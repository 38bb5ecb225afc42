"""What must not reach any sink is removed here: secrets by the name of their key, texts of prompts and responses."""

from ingestion.privacy.keys import REDACTED, is_sensitive, redact
from ingestion.privacy.payloads import scrub_payload

__all__ = ["REDACTED", "is_sensitive", "redact", "scrub_payload"]
