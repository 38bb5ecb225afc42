"""What is done with private data that is found, by kind, and what an installation adds of its own."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import re2

from ingestion.privacy.findings import KINDS, Finding

Action = Literal["mask", "hash", "drop", "keep"]
ACTIONS: tuple[Action, ...] = ("mask", "hash", "drop", "keep")
KIND_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
LONGEST_PATTERN = 1_000
PATTERN_MEMORY = 1 << 20
DIGEST_LETTERS = 12
# Letters only: a digest with digits could itself be taken for a phone or a card.
LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


@dataclass(frozen=True)
class Policy:
    """`action` for every kind that `actions` does not name; `patterns` (RE2) find kinds of the installation's own.

    `key` is the key of the digests that replace values which are hashed: whoever lacks it cannot try values out.
    Raises ValueError for unknown kinds and actions, unsafe patterns, and for hash without a key.
    """

    action: Action = "mask"
    actions: Mapping[str, Action] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    key: bytes = b""
    is_on: bool = True

    def __post_init__(self) -> None:
        for kind, pattern in self.patterns.items():
            check_pattern(kind, pattern)
        for kind, action in {**self.actions, "every other kind": self.action}.items():
            if action not in ACTIONS:
                raise ValueError(f"{kind}: {action!r} is none of {', '.join(ACTIONS)}")
        if unknown := sorted(self.actions.keys() - {*KINDS, *self.patterns}):
            raise ValueError(f"{unknown[0]} is no kind; there are {', '.join([*KINDS, *self.patterns])}")
        if "hash" in {self.action, *self.actions.values()} and not self.key:
            raise ValueError("hash needs a key")

    def replacement(self, kind: str, value: str) -> str:
        """What stands in the place of a value; never anything that would itself be found."""
        action = self.actions.get(kind, self.action)
        if action == "keep":
            return value
        if action == "drop":
            return ""
        return f"[{kind}:{self.digest(value)}]" if action == "hash" else f"[{kind}]"

    def digest(self, value: str) -> str:
        """48 bits of HMAC-SHA256 in letters: the same value stays recognisable as the same."""
        mac = hmac.new(self.key, value.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return mac.hexdigest()[:DIGEST_LETTERS].translate(LETTERS)

    def apply(self, text: str, findings: list[Finding]) -> str:
        """The text with findings, which are in order and do not overlap, replaced."""
        parts, place = [], 0
        for kind, start, end in findings:
            parts += [text[place:start], self.replacement(kind, text[start:end])]
            place = end
        return "".join([*parts, text[place:]])


def check_pattern(kind: str, pattern: str) -> None:
    """Raises ValueError with what is wrong with an installation's own pattern: it must be RE2's, which is linear in
    the text whatever the pattern, and must not match nothing."""
    if not KIND_NAME.fullmatch(kind) or kind in KINDS:
        raise ValueError(f"{kind!r} must be a new name of small letters, digits and _, not one of {', '.join(KINDS)}")
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"{kind}: the pattern is longer than {LONGEST_PATTERN} characters")
    try:
        compiled = compiled_pattern(pattern)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ValueError(
            f"{kind}: {pattern!r} is not a pattern of RE2 ({reason}), which has no look-around and no back-references"
        ) from None
    if compiled.search(""):
        raise ValueError(f"{kind}: {pattern!r} matches the empty text")


def compiled_pattern(pattern: str) -> re2._Regexp[str]:
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY
    options.log_errors = False
    return re2.compile(pattern, options)  # type: ignore[no-any-return]
