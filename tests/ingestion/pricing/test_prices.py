"""A call costs what its provider's model cost at its time; without a price its cost is unknown, never nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from ingestion.costs import CostWatch
from ingestion.formats.event import Event
from ingestion.formats.native import decode, encode
from ingestion.formats.otlp import spans_of
from ingestion.formats.validation import Limits
from ingestion.limits import STANDARD_TABLE
from ingestion.pricing import Prices, PriceTableError, price, read_table
from ingestion.pricing.table import parse_table
from sentinel_site.config.model import Config

TABLE = """
as_of: 2025-06-01
aliases: {maker: [maker.cloud]}
prices:
  - provider: maker
    models: [big, "big-mini*"]
    history:
      - {effective_from: 2024-01-01, input: 10, output: 30}
      - effective_from: 2025-01-01
        input: 2
        output: 8
        cached: 0.5
        cache_write: 2.5
        reasoning: 12
        tiers: [{above_prompt_tokens: 1000, input: 4, output: 16}]
  - {provider: maker, models: [big-2024-02-02], history: [{effective_from: 2024-02-02, input: 7, output: 7}]}
  - {provider: maker, models: [embed], history: [{effective_from: 2024-01-01, input: 1, output: 0}]}
  - {provider: host, models: [open], history: [{effective_from: 2024-01-01, input: 1, output: 1}]}
  - {provider: other, models: [open], history: [{effective_from: 2024-01-01, input: 2, output: 2}]}
"""
PRICES = Prices(parse_table(TABLE))


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9


NOW = at("2025-06-01")


def cost(model: str = "big", provider: str = "maker", when: int = NOW, **tokens: int | None) -> float | None:
    given = {"prompt": 1000, "completion": 100, **tokens}
    return PRICES.cost(provider, model, when, **given)  # type: ignore[arg-type]


def test_tokens_cost_their_price_per_million() -> None:
    assert cost() == pytest.approx((1000 * 2 + 100 * 8) / 1e6)


def test_cached_written_and_reasoning_tokens_have_prices_of_their_own() -> None:
    found = cost(cached=400, cache_write=100, reasoning=40)
    assert found == pytest.approx((500 * 2 + 400 * 0.5 + 100 * 2.5 + 60 * 8 + 40 * 12) / 1e6)


def test_parts_that_exceed_the_whole_were_counted_beside_it() -> None:
    assert cost(prompt=10, completion=0, cached=400) == pytest.approx((10 * 2 + 400 * 0.5) / 1e6)


def test_a_long_prompt_moves_the_whole_call_to_another_tier() -> None:
    assert cost(prompt=1001) == pytest.approx((1001 * 4 + 100 * 16) / 1e6)


@pytest.mark.parametrize(("day", "expected"), [("2023-12-31", None), ("2024-12-31", 0.013), ("2025-01-01", 0.0028)])
def test_a_call_costs_what_it_cost_at_its_time(day: str, expected: float | None) -> None:
    assert cost(when=at(day)) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("provider", "model", "listed"),
    [
        ("maker", "BIG", True),
        ("maker.cloud", "big", True),
        ("", "big", True),
        ("some-gateway", "openai/big", True),
        ("maker", "big-2025-03-03", True),
        ("maker", "big-latest", True),
        ("maker", "big@20250303", True),
        ("maker", "big-mini-whatever", True),
        ("host", "big", False),
        ("maker", "bigger", False),
        ("maker", "big-realtime", False),
        ("", "open", False),
        ("host", "open", True),
    ],
)
def test_models_are_known_by_the_names_that_telemetry_has_for_them(provider: str, model: str, listed: bool) -> None:
    assert (cost(model, provider) is not None) == listed


def test_an_exact_name_goes_before_one_that_leaves_the_day_out() -> None:
    assert cost("big-2024-02-02") == pytest.approx(1100 * 7 / 1e6)


def test_unknown_tokens_are_not_free() -> None:
    assert cost(completion=None) is None
    assert cost(prompt=None) is None
    assert cost("embed", completion=None) == pytest.approx(1000 / 1e6)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_call_costs_less_than_nothing_or_more_than_the_dearest(p: int, c: int, cached: int, thought: int) -> None:
    found = cost(prompt=p, completion=c, cached=cached, reasoning=thought)
    assert found is not None
    assert 0 <= found <= (p + cached) * 4e-6 + (c + thought) * 16e-6 + 1e-12


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("input: 10", "input: -1"), ">= 0.0"),
        (("input: 10", "imput: 10"), "imput"),
        (("2024-01-01, input: 10", "yesterday, input: 10"), "effective_from|date"),
        (("models: [big,", 'models: ["b*g",'), r"\* may stand only at the end"),
        (("models: [embed]", "models: [big]"), "two prices from 2024-01-01"),
        (("- provider: maker", "provider: maker"), "line|mapping|expected"),
    ],
)
def test_a_faulty_table_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(TABLE.replace(*change, 1))
    with pytest.raises(PriceTableError, match=reason) as error:
        read_table(file)
    assert str(file) in str(error.value)
    with pytest.raises(ValueError, match=r"pricing\.table"):
        Config.model_validate({"ingestion": {"pricing": {"table": str(file)}}})


@pytest.mark.parametrize(
    ("provider", "model", "day", "per_million"),
    [
        ("openai", "gpt-4o-2024-08-06", "2025-01-01", (2.5, 10)),
        ("azure.ai.openai", "gpt-4o", "2024-06-01", (5, 15)),
        ("aws.bedrock", "us.anthropic.claude-3-5-sonnet-20241022-v2:0", "2025-01-01", (3, 15)),
        ("gcp.vertex_ai", "claude-3-5-haiku@20241022", "2025-01-01", (0.8, 4)),
        ("anthropic", "claude-sonnet-4-20250514", "2025-06-01", (3, 15)),
        ("", "models/gemini-2.0-flash-001", "2025-06-01", (0.1, 0.4)),
        ("groq", "llama-3.3-70b-versatile", "2025-06-01", (0.59, 0.79)),
    ],
)
def test_the_shipped_table_knows_the_well_known_models(
    provider: str, model: str, day: str, per_million: tuple[float, float]
) -> None:
    rate = Prices(read_table(STANDARD_TABLE)).rate(provider, model, at(day))
    assert rate is not None
    assert (rate.input, rate.output) == per_million


# Events

LIMITS = Limits(prices=PRICES)


def event_of(limits: Limits = LIMITS, **fields: object) -> Event:
    message = {
        "timestamp": "2025-06-01T00:00:00Z",
        "service_name": "chat",
        "model_name": "big",
        "latency_ms": 5,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
    }
    return decode(json.dumps({**message, **fields}).encode(), received_ms=1 << 62, limits=limits)


def test_an_event_without_cost_gets_the_tables() -> None:
    event = event_of()
    assert (event.cost_usd, event.cost_source) == (pytest.approx(0.0028), "table")
    assert event.cost_usd == price(event, PRICES)


def test_what_an_event_reports_is_kept() -> None:
    assert (event_of(cost_usd=0.5).cost_usd, event_of(cost_usd=0.5).cost_source) == (0.5, "reported")


def test_a_model_without_a_price_is_unpriced_not_free() -> None:
    event = event_of(model_name="unheard-of")
    assert (event.cost_usd, event.cost_source) == (None, "unpriced")


def test_a_price_given_on_the_way_in_stays_whatever_the_table_says_later() -> None:
    sent = encode(event_of())
    later = decode(
        sent, received_ms=1 << 62, limits=Limits(prices=Prices(parse_table(TABLE.replace("input: 2", "input: 9"))))
    )
    assert (later.cost_usd, later.cost_source) == (pytest.approx(0.0028), "table")


def test_an_impossible_cost_of_the_table_is_clamped_as_a_reported_one_is() -> None:
    event = event_of(Limits(prices=PRICES, max_cost_usd=0.001))
    assert (event.cost_usd, event.marks) == (0.001, ("clamped_cost",))


# Watching


def counted(name: str, model: str) -> float:
    return REGISTRY.get_sample_value(name, {"model": model}) or 0


def test_tokens_without_a_price_are_counted_and_alarmed_of_once() -> None:
    before = counted("sentinel_unpriced_tokens_total", "unheard-of")
    with structlog.testing.capture_logs() as logs:
        CostWatch(PRICES, 0.05).see([event_of(model_name="unheard-of")] * 3)
    assert counted("sentinel_unpriced_tokens_total", "unheard-of") == before + 3 * 1100
    assert [(line["event"], line["log_level"], line["model"]) for line in logs] == [
        ("model_without_price", "warning", "unheard-of")
    ]


@pytest.mark.parametrize(("reported", "mismatches"), [(0.0028, 0), (0.0029, 0), (0.0031, 1), (0.0, 1)])
def test_a_reported_cost_that_the_table_does_not_explain_is_counted(reported: float, mismatches: int) -> None:
    before = counted("sentinel_cost_mismatch_total", "big")
    CostWatch(PRICES, 0.05).see([event_of(cost_usd=reported)])
    assert counted("sentinel_cost_mismatch_total", "big") == before + mismatches


def test_failed_calls_and_costs_of_the_table_are_no_matter() -> None:
    with structlog.testing.capture_logs() as logs:
        CostWatch(PRICES, 0.05).see([event_of(), event_of(model_name="unheard-of", errors=["timeout"])])
    assert logs == []


def span_payload(*, attributes: dict[str, object], resource: dict[str, str]) -> bytes:
    def pairs(values: dict[str, object]) -> list[dict[str, object]]:
        return [
            {"key": key, "value": {"intValue": value} if isinstance(value, int) else {"stringValue": value}}
            for key, value in values.items()
        ]

    start = at("2025-06-01")
    span = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "startTimeUnixNano": str(start)}
    span |= {"endTimeUnixNano": str(start + 10**9), "attributes": pairs(attributes)}  # type: ignore[dict-item]
    scope = {"spans": [span]}
    return json.dumps(
        {"resourceSpans": [{"resource": {"attributes": pairs(dict(resource))}, "scopeSpans": [scope]}]}
    ).encode()


def test_a_span_without_cost_is_priced_and_cleaned_before_it_goes_to_kafka() -> None:
    attributes: dict[str, object] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "big"}
    attributes |= {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100, "user.id": "ada@example.com"}
    payload = span_payload(
        attributes=attributes, resource={"service.name": "chat", "deployment.environment.name": "of bob@example.com"}
    )
    (event,) = spans_of(payload, "json", received_ms=1 << 43, limits=LIMITS).events
    assert (event.cost_usd, event.cost_source) == (pytest.approx(0.0028), "table")
    assert "@" not in encode(event).decode()


@pytest.mark.parametrize(
    ("model", "provider"),
    [("big", "maker"), ("openai/big-2025-01-01", "maker"), ("big-mini-3", "maker"), ("open", ""), ("unheard-of", "")],
)
def test_a_model_is_served_by_whoever_alone_lists_it(model: str, provider: str) -> None:
    assert PRICES.provider_of(model) == provider
