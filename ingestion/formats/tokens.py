"""Tokens of a call that are not as usual: unknown, too many, or not adding up."""

from __future__ import annotations

from ingestion.formats import validation
from ingestion.formats.validation import Rejection

Tokens = tuple[int | None, int | None, int | None]


def corrected(total: int | None, total_of_parts: int, marks: list[str]) -> int:
    """The sum of the parts, whatever was said; marked if something else was said."""
    if total is not None:
        marks.append(validation.TOTAL_CORRECTED)
    return total_of_parts


def unusual_tokens(tokens: Tokens, *, may_lack: bool, most: int, marks: list[str]) -> Tokens:
    """Prompt, completion and total tokens where one is above `most` or unknown.

    Raises Rejection for an unknown part unless the call `may_lack` it.
    """
    sent, received, total = tokens
    if not may_lack and (sent is None or received is None):
        field = "prompt_tokens" if sent is None else "completion_tokens"
        raise Rejection(validation.MISSING, field, "is required unless the call failed")
    if sent is not None and received is not None and total != sent + received:
        total = corrected(total, sent + received, marks)
    kept = [None if part is None else min(part, most) for part in (sent, received)]
    if kept != [sent, received]:
        marks.append(validation.CLAMPED_TOKENS)
    if kept[0] is not None and kept[1] is not None:
        return kept[0], kept[1], kept[0] + kept[1]
    return kept[0], kept[1], None if total is None else min(total, 2 * most)
