"""Names of models as telemetry has them, and as price lists do."""

from __future__ import annotations

import re

# `us.anthropic.claude-…` (Bedrock), `models/gemini-…`, `openai/gpt-4o` (gateways), `publishers/google/models/…`.
PREFIX = re.compile(
    r"(?:publishers/[^/]+/)?models/|(?:(?:us|eu|apac|global)\.)?(?:anthropic|mistral|cohere|deepseek|meta)\."
    r"|(?:openai|anthropic|google|gemini|vertex_ai|mistral|mistralai|cohere|deepseek|xai|x-ai|azure)/"
)
# A day, a revision, or the newest one: `-2024-08-06`, `-20241022`, `@20241022`, `-v2:0`, `-latest`, `-001`.
SUFFIX = re.compile(
    r"(?:[-@](?:20\d\d-?[01]\d-?[0-3]\d|latest|\d{3})|-v\d(?::\d)?|:\d+|-preview-\d\d-\d\d(?:-\d{4})?|@default)\Z"
)
MOST_SUFFIXES = 3


def spellings(model: str) -> list[str]:
    """The names by which a model may be listed, the most exact first."""
    name = model.strip().lower()
    found = [name]
    if match := PREFIX.match(name):
        found.append(name[match.end() :])
    for _ in range(MOST_SUFFIXES):
        shorter = SUFFIX.sub("", found[-1])
        if shorter == found[-1]:
            break
        found.append(shorter)
    return found
