"""OTLP, as protobuf and as JSON, to native events.

`spans_of` and `logs_of` decode a whole request by itself. Metrics take three steps, as cumulative streams need what
they said before: `points_of` a request, `increments` of these over what is kept of their streams, `events_of` those.
"""

from ingestion.formats.otlp.envelopes import Decoded, Encoding, sniffed
from ingestion.formats.otlp.faults import Unreadable
from ingestion.formats.otlp.logs import logs_of
from ingestion.formats.otlp.points import points_of
from ingestion.formats.otlp.sampling import events_of
from ingestion.formats.otlp.spans import spans_of
from ingestion.formats.otlp.streams import increments

__all__ = [
    "Decoded",
    "Encoding",
    "Unreadable",
    "events_of",
    "increments",
    "logs_of",
    "points_of",
    "sniffed",
    "spans_of",
]
