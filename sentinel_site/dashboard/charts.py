"""The charts of a page, as plain data that its scripts draw: lines over time, what is usual, what departed from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel_site.dashboard.bands import Band, Baselines, band
from sentinel_site.dashboard.percentiles import Counts, quantiles
from sentinel_site.dashboard.telemetry import CALLS, COST, ERRORS, TOKENS, Telemetry

PERCENTILES = {"P50": 0.50, "P95": 0.95, "P99": 0.99}
DIGITS = 5
Chart = dict[str, Any]

# Of each chart: its title, the unit of its values, the metric whose band is drawn, and the metrics marked on it.
SPECS = {
    "latency": ("Latency", "ms", "latency_ms", ("latency_ms", "ttft_ms")),
    "calls": ("Calls per minute", "", "request_rate", ("request_rate", "silence", "user_request_rate")),
    "errors": ("Error rate", "share", "error_rate", ("error_rate", "finish_reason", "quality_score")),
    "tokens": (
        "Tokens per minute",
        "",
        "tokens_per_minute",
        (
            *("tokens_per_minute", "total_tokens", "prompt_tokens", "completion_tokens"),
            *("prompt_tokens_distribution", "completion_tokens_distribution", "embedding"),
        ),
    ),
    "cost": ("Cost per minute", "usd", "cost_per_minute", ("cost_per_minute", "cost_usd")),
}


def charts(telemetry: Telemetry, baselines: Baselines, marks: Sequence[dict[str, Any]]) -> list[Chart]:
    """Every chart of SPECS over the telemetry of all its pairs together."""
    lines = _percentile_lines(telemetry.latency), *_sum_lines(telemetry)
    return [
        chart(name, telemetry, of_chart, band(baselines, _with_calls(telemetry), SPECS[name][2]), marks)
        for name, of_chart in zip(SPECS, lines, strict=True)
    ]


def chart(
    name: str,
    telemetry: Telemetry,
    lines: dict[str, NDArray[np.float64]],
    usual: Band | None,
    marks: Iterable[dict[str, Any]],
) -> Chart:
    title, unit, _, metrics = SPECS[name]
    return {
        "id": name,
        "title": title,
        "unit": unit,
        "x": telemetry.grid.times.tolist(),
        "lines": [{"label": label, "values": plain(values)} for label, values in lines.items()],
        "band": None if usual is None else {"low": usual.low, "high": usual.high},
        "marks": [mark for mark in marks if mark["metric"] in metrics],
    }


def plain(values: NDArray[np.float64]) -> list[float | None]:
    """As JSON has it: no NaN, and no more digits than anybody sees."""
    return [None if math.isnan(value) else float(f"{value:.{DIGITS}g}") for value in values.tolist()]


def _with_calls(telemetry: Telemetry) -> list[Any]:
    called = telemetry.sums[:, :, CALLS].sum(axis=1) > 0
    return [pair for pair, has in zip(telemetry.pairs, called, strict=True) if has]


def _percentile_lines(latency: Counts) -> dict[str, NDArray[np.float64]]:
    return {label: quantiles(latency, q) for label, q in PERCENTILES.items()}


def _sum_lines(telemetry: Telemetry) -> Iterable[dict[str, NDArray[np.float64]]]:
    sums, minutes = telemetry.sums.sum(axis=0), telemetry.minutes
    calls = sums[:, CALLS]
    yield {"Calls": calls / minutes}
    yield {"Errors": np.divide(sums[:, ERRORS], calls, out=np.full(len(calls), np.nan), where=calls > 0)}
    yield {"Tokens": sums[:, TOKENS] / minutes}
    yield {"Cost": sums[:, COST] / minutes}
