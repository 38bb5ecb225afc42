"""What reading OTLP costs by itself: spans per second of one core, as protobuf and as JSON.

python -m bench otlp
python -m bench.otlp --spans 20000 --runs 15
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench import machine
from bench.figures import Spread, save, table
from bench.messages import events
from ingestion.formats.event import Event
from ingestion.formats.native import encode
from ingestion.formats.otlp import Encoding, spans_of
from ingestion.formats.validation import Limits

FOREVER_MS = 1 << 62
BATCH = 512  # what exporters send at once, unless told otherwise


def attributes(event: Event) -> dict[str, Any]:
    """The attributes that an instrumented client gives its span: all that is wanted, and some that are not."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": event.model,
        "gen_ai.response.model": event.model,
        "gen_ai.response.id": event.event_id or "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": event.prompt_tokens,
        "gen_ai.usage.output_tokens": event.completion_tokens,
        "server.address": "api.openai.com",
        "server.port": 443,
    }


def request(batch: Sequence[Event]) -> dict[str, Any]:
    """A request with a span per event, in OTLP's JSON."""
    spans = []
    for number, event in enumerate(batch):
        start = event.timestamp_ns - round((event.latency_ms or 0) * 1e6)
        values = [{"key": key, "value": value_of(value)} for key, value in attributes(event).items()]
        spans.append(
            {
                "traceId": f"{event.timestamp_ns:032x}",
                "spanId": f"{number + 1:016x}",
                "name": f"chat {event.model}",
                "kind": 3,
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(event.timestamp_ns),
                "attributes": values,
            }
        )
    service = [{"key": "service.name", "value": {"stringValue": "chat-api"}}]
    return {"resourceSpans": [{"resource": {"attributes": service}, "scopeSpans": [{"spans": spans}]}]}


def value_of(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [value_of(each) for each in value]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value or ""}


def as_protobuf(document: dict[str, Any]) -> bytes:
    """The same request as protobuf."""
    found = ExportTraceServiceRequest()
    (group,) = document["resourceSpans"]
    target = found.resource_spans.add()
    fill(target.resource.attributes, group["resource"]["attributes"])
    spans = target.scope_spans.add().spans
    for each in group["scopeSpans"][0]["spans"]:
        span = spans.add(name=each["name"], kind=each["kind"])
        span.trace_id, span.span_id = bytes.fromhex(each["traceId"]), bytes.fromhex(each["spanId"])
        span.start_time_unix_nano = int(each["startTimeUnixNano"])
        span.end_time_unix_nano = int(each["endTimeUnixNano"])
        fill(span.attributes, each["attributes"])
    return found.SerializeToString()


def fill(attributes: Any, values: list[dict[str, Any]]) -> None:
    for each in values:
        value = attributes.add(key=each["key"]).value
        if "intValue" in each["value"]:
            value.int_value = int(each["value"]["intValue"])
        elif "arrayValue" in each["value"]:
            value.array_value.values.add(string_value=each["value"]["arrayValue"]["values"][0]["stringValue"])
        else:
            value.string_value = each["value"]["stringValue"]


def batches(count: int) -> Iterator[dict[str, Any]]:
    """Requests with `count` spans of successful calls together, BATCH in each."""
    good = (event for event in events(2 * count) if not event.error)
    left = count
    while left > 0:
        yield request(list(islice(good, min(BATCH, left))))
        left -= BATCH


def rates(count: int, runs: int) -> dict[str, list[float]]:
    """Spans per CPU second of each run, by what was done."""
    documents = list(batches(count))
    work: dict[str, tuple[Encoding, list[bytes], bool]] = {
        "protobuf": ("protobuf", [as_protobuf(each) for each in documents], False),
        "json": ("json", [msgspec.json.encode(each) for each in documents], False),
    }
    work["protobuf to Kafka's message"] = ("protobuf", work["protobuf"][1], True)
    return {name: [count / _cpu_seconds(*step, count) for _ in range(runs)] for name, step in work.items()}


def _cpu_seconds(encoding: Encoding, payloads: list[bytes], is_encoded: bool, count: int) -> float:
    limits, found = Limits(), 0
    began = time.process_time()
    for payload in payloads:
        decoded = spans_of(payload, encoding, received_ms=FOREVER_MS, limits=limits)
        found += len([encode(event) for event in decoded.events] if is_encoded else decoded.events)
    seconds = time.process_time() - began
    if found != count:
        raise ValueError(f"{found} of {count} spans were taken")
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=9)
    chosen = parser.parse_args(argv)
    found = rates(chosen.spans, chosen.runs)
    rows = [
        [name, Spread.of(values).text(), Spread.of([1e6 / value for value in values]).text(".2f")]
        for name, values in found.items()
    ]
    print(machine.line())
    print(table(["", "spans/s per core", "us/span"], rows))
    print(f"written to {save('otlp', found)}")


if __name__ == "__main__":
    main()
