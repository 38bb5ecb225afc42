"""What must not reach any sink is removed here.

Private data and secrets by their shape (`Scrubber`), secrets by the name of their key (`redact`), texts of prompts and
responses out of messages that are kept (`scrub_payload`).
"""

from ingestion.privacy.findings import KINDS, Finding
from ingestion.privacy.keys import REDACTED, is_sensitive, redact
from ingestion.privacy.payloads import scrub_payload
from ingestion.privacy.policy import Policy
from ingestion.privacy.scrubber import DEFAULT, Scrubber

__all__ = ["DEFAULT", "KINDS", "REDACTED", "Finding", "Policy", "Scrubber", "is_sensitive", "redact", "scrub_payload"]
