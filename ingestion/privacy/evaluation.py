"""How well private data is found: precision and recall by kind over labelled texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingestion.privacy.findings import (
    API_KEY,
    BEARER,
    CARD,
    IBAN,
    IP,
    JWT,
    PHONE,
    PRIVATE_KEY,
    SECRETS,
    SSN,
    Finding,
)
from ingestion.privacy.scrubber import Scrubber

# Names that other corpora have for the kinds.
ALIASES = {
    "email_address": "email",
    "e_mail": "email",
    "phone_number": PHONE,
    "telephone": PHONE,
    "credit_card": CARD,
    "payment_card": CARD,
    "credit_card_number": CARD,
    "iban_code": IBAN,
    "us_ssn": SSN,
    "social_security_number": SSN,
    "ip_address": IP,
    "ipv4": IP,
    "ipv6": IP,
    "apikey": API_KEY,
    "secret": API_KEY,
    "password": API_KEY,
    "bearer_token": BEARER,
    "token": BEARER,
    "jwt_token": JWT,
    "pem": PRIVATE_KEY,
}


@dataclass(slots=True)
class Score:
    """How labels of one kind, and findings of it, fared."""

    labels: int = 0
    found: int = 0
    findings: int = 0
    right: int = 0

    @property
    def recall(self) -> float | None:
        """Share of the labels that were found; None without labels."""
        return self.found / self.labels if self.labels else None

    @property
    def precision(self) -> float | None:
        """Share of the findings that are labelled so; None without findings."""
        return self.right / self.findings if self.findings else None


def kind_of(name: str) -> str:
    """Our name for a kind that a corpus names."""
    folded = name.strip().lower().replace("-", "_").replace(" ", "_")
    return ALIASES.get(folded, folded)


def evaluate(samples: Iterable[tuple[str, Sequence[Finding]]], scrubber: Scrubber) -> dict[str, Score]:
    """The score of each kind over texts with their labels.

    A label is found if findings of its kind cover at least half of it, a finding is right if labels of its kind cover
    at least half of it: corpora do not agree whether `Bearer` or an extension belongs to what they label. Secrets of
    programs are one family here, because a web token in an Authorization header is rightly called by several names.
    Raises TooMuchWork.
    """
    scores: dict[str, Score] = {}
    for text, labels in samples:
        findings = scrubber.find(text)
        for label in labels:
            score = scores.setdefault(label.kind, Score())
            score.labels += 1
            score.found += _is_covered(label, findings)
        for finding in findings:
            score = scores.setdefault(finding.kind, Score())
            score.findings += 1
            score.right += _is_covered(finding, labels)
    return scores


def _is_covered(one: Finding, others: Sequence[Finding]) -> bool:
    shared = sum(
        max(0, min(one.end, other.end) - max(one.start, other.start))
        for other in others
        if other.kind == one.kind or {other.kind, one.kind} <= SECRETS
    )
    return 2 * shared >= one.end - one.start
