"""GenAI metrics: N calls of a window become N events, whatever the temporality and the encoding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.otlp import Decoded, Encoding, Unreadable, events_of, increments, points_of
from ingestion.formats.otlp.sampling import timed_pairs
from ingestion.formats.otlp.streams import Last, decode_last
from ingestion.formats.validation import Limits
from tests.ingestion.otlp.requests import (
    ENCODINGS,
    MEASURED,
    RECEIVED_MS,
    SECOND_NS,
    START_NS,
    any_value,
    encoded,
    histogram,
    metrics,
    span,
    tokens,
    traces,
)

pytestmark = pytest.mark.parametrize("encoding", ENCODINGS)
DURATIONS = [0.2, 0.3, 0.4, 0.7, 0.8, 1.5]
PROMPTS = [100, 110, 120, 130, 140, 150]
ANSWERS = [10, 20, 30, 40, 50, 60]
PAIR = ("chat-api", "gpt-4o-2024-08-06")


class Receiver:
    """Takes requests one after the other and keeps their streams, as the door does."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.kept: dict[str, bytes] = {}

    def take(self, *some: Metric, most: int = 1000, **options: Any) -> Decoded:
        resource = options.pop("resource", None)
        request = metrics(*some, **({"resource": resource} if resource else {}))
        read = points_of(encoded(request, self.encoding), self.encoding, Limits())
        lasts: Mapping[str, Last | None] = {name: decode_last(value) for name, value in self.kept.items()}
        found, changed = increments(read.points, lasts)
        options = {"timed": timed_pairs(found)} | options
        decoded = events_of(found, received_ms=RECEIVED_MS, limits=Limits(), most=most, **options)
        self.kept |= changed
        decoded.rejections[:0], decoded.ignored = read.rejections, decoded.ignored + read.ignored
        return decoded


@pytest.fixture
def receiver(encoding: Encoding) -> Receiver:
    return Receiver(encoding)


def sums(events: list[Event]) -> tuple[int, float, int, int]:
    """Number of calls, sums of latency (s), prompt and completion tokens."""
    return (
        len(events),
        round(sum(event.latency_ms or 0 for event in events) / 1000, 6),
        sum(event.prompt_tokens or 0 for event in events),
        sum(event.completion_tokens or 0 for event in events),
    )


def test_a_window_of_calls_becomes_as_many_events(receiver: Receiver) -> None:
    decoded = receiver.take(histogram(values=DURATIONS), tokens("input", PROMPTS), tokens("output", ANSWERS))
    assert (decoded.rejections, decoded.ignored) == ([], 0)
    assert sums(decoded.events) == (6, 3.9, 750, 210)
    for event in decoded.events:
        assert (event.service, event.model, event.provider) == (*PAIR, "openai")
        assert event.total_tokens == (event.prompt_tokens or 0) + (event.completion_tokens or 0)
        assert (event.otlp_signal, event.metadata["sampled_from"], event.error) == ("metric", "histogram", False)
        assert native.decode(native.encode(event), received_ms=RECEIVED_MS, limits=Limits()) == event
    times = [(event.timestamp_ns - START_NS) / SECOND_NS for event in decoded.events]
    assert times == [5.0, 15.0, 25.0, 35.0, 45.0, 55.0]
    assert len({event.event_id for event in decoded.events}) == 6


def test_the_same_window_sent_again_has_the_same_ids(receiver: Receiver, encoding: Encoding) -> None:
    request = histogram(values=DURATIONS), tokens("input", PROMPTS)
    first, again = receiver.take(*request).events, Receiver(encoding).take(*request).events
    assert first == again
    later = receiver.take(histogram(values=DURATIONS, start_ns=START_NS + SECOND_NS, end_ns=START_NS + 61 * SECOND_NS))
    assert not {event.event_id for event in later.events} & {event.event_id for event in first}


def test_failed_calls_are_among_the_others(receiver: Receiver) -> None:
    failed = histogram(values=[3.0, 4.0], attributes=MEASURED | {"error.type": "RateLimitError"})
    events = receiver.take(histogram(values=DURATIONS), failed, tokens("input", PROMPTS)).events
    assert [event.error for event in events].count(True) == 2
    assert Counter(event.errors[0] for event in events if event.error) == {"RateLimitError": 2}
    assert [event.error for event in events] != sorted(event.error for event in events)
    good = [event for event in events if not event.error]
    assert sums(good)[:3] == (6, 3.9, 750)
    assert all(event.prompt_tokens is None for event in events if event.error)


def test_calls_without_usage_have_no_tokens(receiver: Receiver) -> None:
    events = receiver.take(
        histogram(values=DURATIONS), tokens("input", PROMPTS[:2]), tokens("output", ANSWERS[:2])
    ).events
    assert sums(events)[2:] == (210, 30)
    assert [event.total_tokens is None for event in events].count(True) == 4


def test_embeddings_generate_no_tokens(receiver: Receiver) -> None:
    embedding = MEASURED | {"gen_ai.operation.name": "embeddings"}
    given = histogram(values=DURATIONS, attributes=embedding), tokens("input", PROMPTS, attributes=embedding)
    assert {event.completion_tokens for event in receiver.take(*given).events} == {0}


def test_many_calls_keep_their_quantiles_and_show_no_trend(receiver: Receiver) -> None:
    values = np.random.default_rng(7).lognormal(-0.3, 0.5, 2000)
    bounds = [0.01 * 1.2**step for step in range(40)]
    events = receiver.take(histogram(values=values.tolist(), bounds=bounds), most=5000).events
    found = np.array([event.latency_ms for event in events]) / 1000
    for q in (0.05, 0.5, 0.95, 0.99):
        assert np.quantile(found, q) == pytest.approx(np.quantile(values, q), rel=0.1)
    assert abs(np.corrcoef(found, np.arange(2000))[0, 1]) < 0.05


def test_a_cumulative_stream_counts_what_is_new(receiver: Receiver) -> None:
    def at(second: int, values: list[float], **options: Any) -> int:
        end = START_NS + second * SECOND_NS
        return len(receiver.take(histogram(values=values, cumulative=True, end_ns=end, **options)).events)

    assert at(10, DURATIONS[:2]) == 2
    assert at(20, DURATIONS[:5]) == 3
    assert at(20, DURATIONS[:5]) == 0, "the same point again"
    assert at(15, DURATIONS[:3]) == 0, "a point that comes late"
    assert at(30, DURATIONS[:5]) == 0, "nothing happened"
    assert at(40, DURATIONS) == 1
    assert at(60, DURATIONS[:2], start_ns=START_NS + 50 * SECOND_NS) == 2, "the process has restarted"
    assert at(70, DURATIONS[:1], start_ns=START_NS + 50 * SECOND_NS) == 1, "counts fell"
    assert at(80, DURATIONS[:3], start_ns=START_NS + 50 * SECOND_NS) == 2


def test_increments_of_a_cumulative_stream_have_its_sums_and_times(receiver: Receiver) -> None:
    for second, count in ((10, 2), (20, 6)):
        end = START_NS + second * SECOND_NS
        given = (
            histogram(values=DURATIONS[:count]),
            tokens("input", PROMPTS[:count]),
            tokens("output", ANSWERS[:count]),
        )
        for metric in given:
            metric.histogram.aggregation_temporality = 2
            metric.histogram.data_points[0].time_unix_nano = end
        events = receiver.take(*given).events
    assert sums(events) == (4, 3.4, 540, 180)
    assert all(START_NS + 10 * SECOND_NS < event.timestamp_ns < START_NS + 20 * SECOND_NS for event in events)


def test_a_stream_that_ran_before_we_came_is_only_noted(receiver: Receiver) -> None:
    long_ago = START_NS - 7200 * SECOND_NS
    assert receiver.take(histogram(values=DURATIONS[:5], cumulative=True, start_ns=long_ago)).events == []
    later = START_NS + 120 * SECOND_NS
    assert len(receiver.take(histogram(values=DURATIONS, cumulative=True, start_ns=long_ago, end_ns=later)).events) == 1
    unknown = histogram(values=DURATIONS, cumulative=True, start_ns=0)
    assert receiver.take(unknown, resource={"service.name": "other"}).events == []


def test_instances_of_a_service_are_streams_of_their_own(receiver: Receiver) -> None:
    for instance in ("a", "b"):
        resource = {"service.name": "chat-api", "service.instance.id": instance}
        assert len(receiver.take(histogram(values=DURATIONS, cumulative=True), resource=resource).events) == 6


def test_several_windows_of_one_request_are_kept_apart(receiver: Receiver) -> None:
    minute = 60 * SECOND_NS
    given = []
    for place in range(3):
        window = {"start_ns": START_NS + place * minute, "end_ns": START_NS + (place + 1) * minute}
        given += [histogram(values=DURATIONS, **window), tokens("input", PROMPTS, **window)]
    events = receiver.take(*given).events
    assert sums(events)[:3] == (18, 11.7, 2250)
    assert Counter((event.timestamp_ns - START_NS) // minute for event in events) == {0: 6, 1: 6, 2: 6}


def test_metrics_of_the_server_count_where_there_are_none_of_the_client(receiver: Receiver) -> None:
    server = histogram("gen_ai.server.request.duration", DURATIONS)
    first = histogram("gen_ai.server.time_to_first_token", [0.1] * 6)
    events = receiver.take(server, first).events
    assert (len(events), round(sum(event.ttft_ms or 0 for event in events))) == (6, 600)
    assert len(receiver.take(server, histogram(values=DURATIONS[:4])).events) == 4


def test_calls_that_their_spans_count_are_left_out(receiver: Receiver) -> None:
    decoded = receiver.take(histogram(values=DURATIONS), tokens("input", PROMPTS), counted={PAIR})
    assert (decoded.events, decoded.rejections, decoded.ignored) == ([], [], 2)


def test_tokens_alone_count_calls_unless_their_durations_come_apart(receiver: Receiver) -> None:
    assert sums(receiver.take(tokens("input", PROMPTS), tokens("output", ANSWERS)).events)[2:] == (750, 210)
    decoded = receiver.take(tokens("input", PROMPTS), timed={PAIR})
    assert (decoded.events, decoded.ignored) == ([], 1)


def test_exponential_histograms_are_understood(receiver: Receiver) -> None:
    metric = Metric(name="gen_ai.client.operation.duration", unit="s")
    metric.exponential_histogram.aggregation_temporality = 1
    point = metric.exponential_histogram.data_points.add(
        start_time_unix_nano=START_NS, time_unix_nano=START_NS + SECOND_NS, count=6, sum=3.9, scale=2, zero_count=0
    )
    point.positive.offset = -10
    point.positive.bucket_counts.extend([1, 0, 1, 0, 1, 0, 0, 2, 0, 0, 0, 0, 1])
    for key, value in MEASURED.items():
        point.attributes.add(key=key, value=any_value(value))
    events = receiver.take(metric).events
    assert sums(events)[:2] == (6, 3.9)
    assert sorted(event.latency_ms or 0 for event in events) == pytest.approx([200, 300, 400, 700, 700, 1500], rel=0.25)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"time_unix_nano": 0}, ("bad_timestamp", "timeUnixNano")),
        ({"start_time_unix_nano": START_NS + 61 * SECOND_NS}, ("bad_timestamp", "startTimeUnixNano")),
        ({"sum": float("nan")}, ("invalid", "sum")),
        ({"sum": -1.0}, ("invalid", "sum")),
        ({"count": 7}, ("invalid", "bucketCounts")),
        ({"count": 2**63, "bucket_counts": [2**63, 0, 0, 0, 0, 0]}, ("invalid", "count")),
        ({"count": 2000, "bucket_counts": [2000, 0, 0, 0, 0, 0]}, ("out_of_range", "count")),
        ({"explicit_bounds": [5, 4, 3, 2, 1]}, ("invalid", "explicitBounds")),
    ],
)
def test_a_bad_point_is_refused_by_itself(receiver: Receiver, changes: dict[str, Any], expected: Any) -> None:
    other = MEASURED | {"gen_ai.response.model": "other"}
    decoded = receiver.take(histogram(values=DURATIONS, **changes), histogram(values=DURATIONS, attributes=other))
    assert [(rejection.code, rejection.field) for rejection in decoded.rejections] == [expected]
    assert len(decoded.events) == 6


def test_points_that_are_not_about_calls_are_ignored(receiver: Receiver) -> None:
    others = [
        histogram("http.client.request.duration", DURATIONS),
        histogram("gen_ai.server.time_per_output_token", [0.01] * 6),
        histogram(values=DURATIONS, attributes=MEASURED | {"gen_ai.operation.name": "execute_tool"}),
        tokens("cached", PROMPTS),
        histogram(values=DURATIONS, flags=1),
    ]
    decoded = receiver.take(*others)
    assert (decoded.events, decoded.rejections, decoded.ignored) == ([], [], 5)


def test_a_metric_that_is_no_histogram_is_refused(receiver: Receiver) -> None:
    metric = Metric(name="gen_ai.client.token.usage")
    metric.sum.data_points.add(as_int=5)
    (rejection,) = receiver.take(metric).rejections
    assert str(rejection) == "gen_ai.client.token.usage: must be a histogram, not a sum"
    (rejection,) = receiver.take(histogram(values=DURATIONS, attributes={})).rejections
    assert (rejection.code, rejection.field) == ("missing", "gen_ai.request.model")
    unset = histogram(values=DURATIONS)
    unset.histogram.aggregation_temporality = 0
    assert receiver.take(unset).rejections[0].field == "aggregationTemporality"


def test_spans_sent_as_metrics_are_told_where_they_belong(encoding: Encoding) -> None:
    with pytest.raises(Unreadable, match="/v1/traces"):
        points_of(encoded(traces(span()), encoding), encoding, Limits())
