"""What a standalone says to the person who started it."""

from __future__ import annotations

from django.conf import settings

from sentinel_site.standalone.environment import Embedded
from sentinel_site.standalone.first_start import Credentials

STARTING = "LLM-Sentinel is starting (the first time it compiles its detectors, for a minute or two) ..."
STOPPING = "\nStopping (press Ctrl-C again to leave at once) ..."
MEMORY_ONLY = """\
  The broker's queue lives in memory: it keeps 5 MB per partition, and what is not consumed is gone at the end.
  It serves confluent-kafka, kcat and other librdkafka clients, aiokafka and kafka-python 2.x.
  kafka-python 3 cannot bootstrap on it."""


def welcome(embedded: Embedded, credentials: Credentials, demo: bool) -> str:
    """The first screen: addresses, and what was made up, which is never shown again."""
    url = settings.SENTINEL.api.public_url
    lines = ["", f"LLM-Sentinel runs on {url}", f"  Operator      admin, at {url}/admin/"]
    lines += _credentials(credentials)
    lines += [f"  Kafka broker  {embedded.brokers} (also in {embedded.instance.bootstrap_file})"]
    lines += [f"  Topic         {settings.SENTINEL.ingestion.kafka.topic}"]
    lines += [f"  Data          {embedded.instance.var}"]
    lines += [MEMORY_ONLY] if embedded.broker else []
    lines += ["  Demo traffic flows; DEMO=0 leaves it out." if demo else "  No demo traffic (DEMO=0)."]
    return "\n".join([*lines, "Ctrl-C stops it.", ""])


def _credentials(made: Credentials) -> list[str]:
    lines = [f"  Password      {made.password}   (shown once; `manage.py changepassword admin` sets another)"]
    token = [f"  API token     {made.token}   (shown once; make others in the admin)"]
    return (lines if made.password else []) + (token if made.token else [])


def farewell(left: dict[str, int] | None, unfinished: list[str], embedded: bool) -> str:
    """The last words: what did not end in time, and what the broker still held; gone with it if it was `embedded`."""
    lines = [f"Cut off: {name} did not end in time." for name in unfinished]
    if left is None:
        lines.append("The broker did not tell what it still held.")
    elif not any(left.values()):
        lines.append("Every event was consumed.")
    else:
        fate = "gone with the in-memory broker" if embedded else "kept by Kafka"
        lines += [f"Not consumed by {group}: {count:,} messages, {fate}." for group, count in left.items() if count]
    return "\n".join([*lines, "Stopped."])
