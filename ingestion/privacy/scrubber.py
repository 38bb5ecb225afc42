"""Texts without private data. Whatever goes wrong, nothing private gets through: then the whole text is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ingestion.privacy.findings import KINDS, Budget, Finding, Recogniser
from ingestion.privacy.gate import Gate
from ingestion.privacy.keys import REDACTED
from ingestion.privacy.policy import Policy, compiled_pattern
from ingestion.privacy.recognisers import RECOGNISERS


class Scrubber:
    """Finds and replaces private data by a policy. Threads may share it.

    `failed` is told of every text that was replaced as a whole because looking at it failed or cost too much.
    """

    def __init__(self, policy: Policy | None = None, failed: Callable[[Exception], None] = lambda _: None) -> None:
        self.policy = policy or Policy()
        self._failed = failed
        self._recognisers = [*RECOGNISERS, *(_own(kind, text) for kind, text in self.policy.patterns.items())]
        order = [*KINDS, *self.policy.patterns]
        self._rank = {kind: place for place, kind in enumerate(order)}
        self._gate = Gate([recogniser.gate for recogniser in self._recognisers])

    def scrub(self, text: str) -> str:
        """The text with private data replaced; doing it twice changes nothing more. Never raises."""
        if not self.policy.is_on or not text:
            return text
        try:
            found = self.find(text)
            return self.policy.apply(text, found) if found else text
        except Exception as error:  # noqa: BLE001 - whatever it is, the text must not get through
            self._failed(error)
            return REDACTED

    def is_clean(self, text: str) -> bool:
        """Whether `scrub` returns the text as it is."""
        return self.scrub(text) == text

    def scrub_identifier(self, text: str) -> str:
        """A digest in the place of an identifier that holds private data, where there is a key: whatever the policy
        for its kind, two people must not become one."""
        if self.is_clean(text):
            return text
        return f"[redacted:{self.policy.digest(text)}]" if self.policy.key else self.scrub(text)

    def find(self, text: str) -> list[Finding]:
        """What is private in the text, in order, without overlaps. Raises TooMuchWork."""
        concerned = self._gate.matching(text)
        if not concerned:
            return []
        budget = Budget(len(text))
        found = [finding for index in concerned for finding in self._recognisers[index].find(text, budget)]
        return self._without_overlaps(found)

    def _without_overlaps(self, found: list[Finding]) -> list[Finding]:
        """Of findings that overlap, the one of the kind that ranks first; of one kind, the longest."""
        found.sort(key=lambda finding: (finding.start, -finding.end))
        kept: list[Finding] = []
        for finding in found:
            if kept and finding.start < kept[-1].end:
                kept[-1] = self._merged(kept[-1], finding)
            else:
                kept.append(finding)
        return kept

    def _merged(self, one: Finding, other: Finding) -> Finding:
        """Both together, under the stronger name: what either found must go."""
        kind = min(one.kind, other.kind, key=self._rank.__getitem__)
        return Finding(kind, one.start, max(one.end, other.end))


def _own(kind: str, text: str) -> Recogniser:
    pattern = compiled_pattern(text)

    def find(text: str, budget: Budget) -> Iterator[Finding]:
        for match in pattern.finditer(text):
            budget.spend(3)
            if match.end() > match.start():
                yield Finding(kind, match.start(), match.end())

    return Recogniser(gate=text, find=find)


DEFAULT = Scrubber()
"""Masks every kind."""
