"""OTLP, as protobuf and as JSON, to native events: `spans_of` and `logs_of` decode a whole request.

Traces and logs need nothing but the request; metrics (`points_of`) need what their streams said before (`streams`).
"""

from ingestion.formats.otlp.envelopes import Decoded, Encoding, Unreadable, sniffed
from ingestion.formats.otlp.logs import logs_of
from ingestion.formats.otlp.spans import spans_of

__all__ = ["Decoded", "Encoding", "Unreadable", "logs_of", "sniffed", "spans_of"]
