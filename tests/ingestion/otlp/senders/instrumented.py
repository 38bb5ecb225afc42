"""An application as people write them: the OpenAI client, instrumented, its telemetry sent to the endpoint of OTEL_*.

python -m tests.ingestion.otlp.senders.instrumented openai_v2|openinference proto|json traces[,metrics][,logs]

Prints a line of JSON per call: the model, what it took by this side's clock, whether it failed. Settings of exporters
and instrumentation come from the environment, as their documentation says; OPENAI_BASE_URL says where the client asks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from openai import OpenAI, OpenAIError
from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

EXPORTERS = {
    "proto": "opentelemetry.exporter.otlp.proto.http",
    "json": "opentelemetry.exporter.otlp.json.http",
}
MODELS = ("gpt-4o", "gpt-4o-mini")


def exporter(encoding: str, signal: str) -> Any:
    """The exporter of a signal, without arguments."""
    module, name = {
        "traces": ("trace_exporter", "OTLPSpanExporter"),
        "metrics": ("metric_exporter", "OTLPMetricExporter"),
        "logs": ("_log_exporter", "OTLPLogExporter"),
    }[signal]
    return getattr(import_module(f"{EXPORTERS[encoding]}.{module}"), name)()


def instrument(name: str) -> None:
    """Turn an instrumentation on."""
    module = {
        "openai_v2": "opentelemetry.instrumentation.openai_v2",
        "openinference": "openinference.instrumentation.openai",
    }
    import_module(module[name]).OpenAIInstrumentor().instrument()


def export(encoding: str, signals: list[str]) -> Callable[[], None]:
    """Send these signals; returns what waits until all is sent."""
    sent = []
    if "traces" in signals:
        traced = TracerProvider()
        traced.add_span_processor(BatchSpanProcessor(exporter(encoding, "traces")))
        trace.set_tracer_provider(traced)
        sent.append(traced.force_flush)
    if "logs" in signals:
        logged = LoggerProvider()
        logged.add_log_record_processor(BatchLogRecordProcessor(exporter(encoding, "logs")))
        set_logger_provider(logged)
        sent.append(logged.force_flush)
    if "metrics" in signals:
        measured = MeterProvider([PeriodicExportingMetricReader(exporter(encoding, "metrics"), 3_600_000)])
        metrics.set_meter_provider(measured)
        sent.append(measured.force_flush)

    def flush() -> None:
        for wait in sent:
            wait()

    return flush


def calls(client: OpenAI) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Calls of each kind, by the model they ask for."""
    for number in range(6):
        model = MODELS[number % 2]
        messages: Any = [{"role": "user", "content": f"Question {number}?"}]
        yield model, lambda m=model, said=messages: client.chat.completions.create(model=m, messages=said)
    streamed: Any = [{"role": "user", "content": "Slowly, please."}]
    yield (
        "gpt-4o",
        lambda: list(
            client.chat.completions.create(
                model="gpt-4o", messages=streamed, stream=True, stream_options={"include_usage": True}
            )
        ),
    )
    yield "text-embedding-3-small", lambda: client.embeddings.create(model="text-embedding-3-small", input="Text.")
    yield "broken", lambda: client.chat.completions.create(model="broken", messages=streamed)


def main(instrumentation: str, encoding: str, signals: str) -> None:
    flush = export(encoding, signals.split(","))
    instrument(instrumentation)
    client = OpenAI(api_key="none", max_retries=0)
    for index, (model, call) in enumerate(calls(client)):
        began, failed = time.perf_counter(), False
        try:
            call()
        except OpenAIError:
            failed = True
        took = (time.perf_counter() - began) * 1000
        print(json.dumps({"model": model, "took_ms": took, "failed": failed}), flush=True)
        if index == 3:
            flush()  # so that cumulative metrics are sent twice
    flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
