"""Instrumented applications, unmodified, send to a running server; each of their calls is one correct row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.ingestion.otlp.openai_stub import OpenAiStub, Served, openai_stub
from tests.sentinel_site.standalone_process import ROOT, TOKEN, Standalone, standalone
from tests.support.waiting import eventually

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("standalone-otlp")]
CALLS = 9
LATEST = {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with standalone(tmp_path_factory.mktemp("standalone")) as server:
        yield server


@pytest.fixture
def openai() -> Iterator[OpenAiStub]:
    with openai_stub() as stub:
        yield stub


def run(running: Standalone, openai: OpenAiStub, service: str, *words: str, **more: str) -> list[dict[str, Any]]:
    """Run an instrumented application to its end; returns what it measured of each call."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")} | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": running.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{TOKEN}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": service,
        "OPENAI_BASE_URL": openai.url,
    }
    command = [sys.executable, "-m", "tests.ingestion.otlp.senders.instrumented", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment | more, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Failed to export" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows(running: Standalone, service: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.get("/api/v1/telemetry", service=service, limit=1000).json()["data"]
    return found


def stored(running: Standalone, service: str, count: int = CALLS) -> list[dict[str, Any]]:
    """The rows of a service, oldest first, once they are all there."""
    eventually(lambda: len(rows(running, service)) >= count, deadline=30, interval=0.3)
    found = rows(running, service)
    assert len(found) == count
    return sorted(found, key=lambda row: row["timestamp"])


def check(row: dict[str, Any], served: Served, measured: dict[str, Any], service: str) -> None:
    """That a row says what the API served and the application measured."""
    assert (row["service"], row["model"], row["error"]) == (service, served.model, served.failed)
    assert served.delay_ms <= row["latency_ms"] <= measured["took_ms"] + 5
    if served.failed:
        assert row["errors"] == ["RateLimitError"] or "429" in row["errors"][0]
        return
    assert (row["prompt_tokens"], row["completion_tokens"]) == (served.prompt_tokens, served.completion_tokens)
    assert row["total_tokens"] == served.prompt_tokens + served.completion_tokens


@pytest.mark.parametrize("encoding", ["proto", "json"])
@pytest.mark.parametrize(
    ("instrumentation", "more"),
    [("openai_v2", {}), ("openai_v2", LATEST), ("openinference", {})],
    ids=["v2", "v2-latest", "openinference"],
)
def test_each_call_of_an_instrumented_client_is_one_row(
    running: Standalone, openai: OpenAiStub, instrumentation: str, more: dict[str, str], encoding: str
) -> None:
    service = f"{instrumentation}-{encoding}-{len(more)}"
    measured = run(running, openai, service, instrumentation, encoding, "traces,metrics,logs", **more)
    assert len(measured) == len(openai.served) == CALLS
    for row, served, own in zip(stored(running, service), openai.served, measured, strict=True):
        check(row, served, own, service)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_metrics_alone_count_each_call_once(
    running: Standalone, openai: OpenAiStub, temporality: str, encoding: str
) -> None:
    service = f"metered-{encoding}-{temporality}"
    preference = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality}
    measured = run(running, openai, service, "openai_v2", encoding, "metrics", **preference)
    found = stored(running, service)
    assert sum(row["error"] for row in found) == 1
    for model in {one.model for one in openai.served}:
        ours = [row for row in found if row["model"] == model]
        theirs = [one for one in openai.served if one.model == model]
        assert len(ours) == len(theirs)
        # This instrumentation's metrics tell no tokens of calls that were streamed.
        telling = [one for one in theirs if not (one.streamed or one.failed)]
        for field in ("prompt_tokens", "completion_tokens"):
            assert sum(row[field] or 0 for row in ours) == sum(getattr(one, field) for one in telling)
        took = sum(each["took_ms"] for each in measured if each["model"] == model)
        assert sum(one.delay_ms for one in theirs) <= sum(row["latency_ms"] for row in ours) <= took + 5 * len(ours)


def test_the_tried_versions_are_those_of_the_documentation() -> None:
    text = Path(ROOT, "docs", "telemetry.md").read_text()
    for name in (
        "opentelemetry-sdk",
        "opentelemetry-exporter-otlp-proto-http",
        "opentelemetry-exporter-otlp-json-http",
        "opentelemetry-instrumentation-openai-v2",
        "openinference-instrumentation-openai",
        "openai",
    ):
        assert f"`{name}` {version(name)}" in text, name
