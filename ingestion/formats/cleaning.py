"""Private data out of the texts and identifiers of events, before any sink sees them."""

from __future__ import annotations

from ingestion.formats.event import Event
from ingestion.formats.validation import Limits
from ingestion.privacy import redact

# A secret that is cut in half is no longer recognised, so texts are cut generously before the search.
MARGIN = 2_048


def scrubbed_text(text: str, length: int, limits: Limits) -> str:
    """At most `length` characters of a text, without private data and without values of sensitive keys."""
    return limits.scrubber.scrub(redact(text[: length + MARGIN], limits.sanitize_patterns))[:length]


def clean_identifiers(event: Event, limits: Limits) -> None:
    """Replace what is private in what the event says of people and providers: user and session by a digest, so that
    two of them do not become one, the rest by the policy."""
    said = (event.user_id, event.session_id, event.finish_reason, event.provider)
    scrubber = limits.scrubber
    event.user_id = scrubber.scrub_identifier(event.user_id)
    event.session_id = scrubber.scrub_identifier(event.session_id)
    event.finish_reason = scrubber.scrub(event.finish_reason)
    event.provider = scrubber.scrub(event.provider)
    if said == (event.user_id, event.session_id, event.finish_reason, event.provider):
        limits.remember(said)


def clean_ids(event: Event, limits: Limits) -> None:
    """Replace the ids of the call where they hold private data. They are random in general and different for every
    event, so the caller looks for an `@` first: who builds ids out of people builds them out of addresses."""
    scrubber = limits.scrubber
    if event.event_id is not None:
        event.event_id = scrubber.scrub_identifier(event.event_id)
    event.trace_id, event.span_id = scrubber.scrub(event.trace_id), scrubber.scrub(event.span_id)


def clean(event: Event, limits: Limits) -> None:
    """Replace what is private anywhere in an event, except in the names of its service and model, which are its key.

    For events that were not decoded by `native.decode`, which cleans on its way.
    """
    clean_identifiers(event, limits)
    clean_ids(event, limits)
    event.metadata = {key: limits.scrubber.scrub(value) for key, value in event.metadata.items()}
    for field in ("prompt_text", "response_text"):
        if text := getattr(event, field):
            setattr(event, field, scrubbed_text(text, limits.max_text_length, limits))
