"""Native JSON events, flat and nested: one message is one LLM call."""

from ingestion.formats.event import Event, partition_key

__all__ = ["Event", "partition_key"]
