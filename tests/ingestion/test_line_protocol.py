"""Line protocol, read back by a parser that is not ours."""

from __future__ import annotations

import math
import uuid
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from ingestion.formats.event import Event
from ingestion.formats.identity import event_id
from ingestion.telemetry_store import TelemetryBatch
from ingestion.telemetry_store.contract import moment, nanoseconds
from ingestion.telemetry_store.line_protocol import (
    TELEMETRY_FIELDS,
    TelemetryLines,
    detection_line,
    escape_field,
    escape_tag,
    from_tag_value,
    point_time,
)
from tests.ingestion.stores import NOON, TOPIC_ID, batch, detection, event
from tests.support.influxdb3_double import split_lines

# What line protocol, JSON, terminals and databases trip over, more often than chance would have it.
nasty = st.sampled_from(list('\\,= "%\n\r\t\0\x1b\x7f\x85\u2028\u202e\ufffd#é💥'))
texts = st.text(st.one_of(nasty, st.characters()), min_size=1, max_size=30)
names = texts
# Without subnormal numbers: those, the reading parser cannot.
numbers = st.one_of(st.none(), st.floats(allow_subnormal=False))
counts = st.one_of(st.none(), st.integers(0, 2**63 - 1))


def points(batch: TelemetryBatch) -> list[dict[str, Any]]:
    return [parse_line(line) for line in TelemetryLines().encode(batch).decode().split("\n")]


@given(texts)
def test_every_text_comes_back_from_a_tag(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    line = f"t,name={escape_tag(text)},after=x v=1i 1"
    assert split_lines(line) == [line]
    tags = parse_line(line)["tags"]
    assert tags["after"] == "x"
    assert from_tag_value(tags["name"]) == text


@given(st.sets(texts.map(lambda text: text.encode("utf-8", "replace").decode()), min_size=2, max_size=2))
def test_different_texts_are_different_tags(pair: set[str]) -> None:
    one, other = pair
    assert escape_tag(one) != escape_tag(other)


@pytest.mark.parametrize("text", ["foo\\", "foo ", "foo\\\\", "foo\\ ", "a\nb", "a\0b", "100%", "%5C", "\\", " "])
def test_names_that_other_clients_confuse_are_kept_apart(text: str) -> None:
    (point,) = points(batch(event(service=text)))
    assert from_tag_value(point["tags"]["service"]) == text
    assert "\\" not in point["tags"]["service"]


@given(texts)
def test_every_text_comes_back_from_a_field_but_for_control_characters(text: str) -> None:
    line = f't v="{escape_field(text)}",after=1i 1'
    assert split_lines(line) == [line]
    fields = parse_line(line)["fields"]
    assert fields["after"] == 1
    assert len(fields["v"]) == len(text)
    shown = [c for c, kept in zip(text, fields["v"], strict=True) if c != kept]
    assert all(
        ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029" or "\ud800" <= c <= "\udfff" for c in shown
    )


@given(
    st.lists(
        st.builds(
            Event,
            timestamp_ns=st.integers(0, 4 * 10**18),
            service=names,
            model=names,
            event_id=st.one_of(st.none(), texts),
            latency_ms=numbers,
            cost_usd=numbers,
            ttft_ms=numbers,
            prompt_tokens=counts,
            cached_tokens=counts,
            error=st.booleans(),
            errors=st.lists(texts, max_size=2),
            metadata=st.dictionaries(texts, texts, max_size=2),
            user_id=texts,
            trace_id=st.one_of(st.just(""), texts),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_batch_is_one_good_line_per_event_with_columns_of_one_type(events: list[Event]) -> None:
    # JSON knows no lone surrogates; the decoders let none in.
    for each in events:
        each.errors = [text.encode("utf-8", "replace").decode() for text in each.errors]
        each.metadata = {}
    body = TelemetryLines().encode(batch(*events, first=999_998)).decode()
    assert split_lines(body) == body.split("\n")
    kinds = {"float64": float, "int64": int, "utf8": str, "bool": bool}
    for sent, offset, line in zip(events, range(999_998, 2_000_000), body.split("\n"), strict=False):
        point = parse_line(line)
        assert {name: type(value) for name, value in point["fields"].items()} == {
            name: kinds[TELEMETRY_FIELDS[name]] for name in point["fields"]
        }
        assert point["fields"]["event_time_ns"] == sent.timestamp_ns
        assert point["time"] == sent.timestamp_ns // 10**6 * 10**6 + offset % 10**6
        assert point["fields"].get("latency_ms") == finite(sent.latency_ms)
        assert point["fields"].get("prompt_tokens") == sent.prompt_tokens
        assert point["fields"]["error"] is sent.error


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@pytest.mark.parametrize(
    ("value", "written"), [(5.0, "5.0"), (1e16, "1.0e16"), (1e-7, "1.0e-7"), (1.5e-7, "1.5e-7"), (-0.0, "-0.0")]
)
def test_a_float_is_written_with_a_decimal_point(value: float, written: str) -> None:
    assert f"latency_ms={written}," in TelemetryLines().encode(batch(event(latency_ms=value))).decode()


def test_an_integer_among_floats_is_written_as_a_float() -> None:
    body = TelemetryLines().encode(batch(event(latency_ms=120))).decode()
    assert "latency_ms=120.0," in body


def test_a_field_that_one_event_lacks_is_absent_from_its_line_alone() -> None:
    with_cost, without = points(batch(event(cost_usd=0.5, user_id="u"), event()))
    assert {"cost_usd", "user_id"} <= with_cost["fields"].keys()
    assert not {"cost_usd", "user_id"} & without["fields"].keys()


def test_metadata_is_one_text_field_and_never_a_tag() -> None:
    (point,) = points(batch(event(metadata={"region": "eu", "service": "evil"})))
    assert point["tags"] == {"service": "chat-api", "model": "gpt-4", "source": "llm.telemetry/0"}
    assert point["fields"]["metadata"] == '{"region":"eu","service":"evil"}'


def test_points_of_one_millisecond_differ_by_their_offset() -> None:
    times = {point_time(nanoseconds(NOON) + 7, offset) for offset in range(5_000_000, 5_010_000)}
    assert len(times) == 10_000
    assert {time // 10**6 for time in times} == {nanoseconds(NOON) // 10**6}


def test_a_detection_stands_at_the_offset_of_its_event() -> None:
    point = parse_line(
        detection_line(detection(NOON + timedelta(milliseconds=5), offset=1_000_007, lower=None)).decode()
    )
    assert point["time"] == nanoseconds(NOON) + 5_000_007
    assert point["tags"] == {
        "service": "chat-api",
        "model": "gpt-4",
        "metric": "latency_ms",
        "detector": "zscore",
        "severity": "critical",
        "source": f"{TOPIC_ID}/0",
    }
    assert point["fields"] == {
        "value": 1500.0,
        "expected": 120.0,
        "upper": 180.0,
        "score": 8.1,
        "event_id": "e-1",
        "anomaly_id": "0b0d6f0e-58a3-4a3e-8d2d-7f8f0d3f5a11",
    }


@given(st.uuids(), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_the_id_of_a_nameless_event_is_the_standard_library_s_uuid5(
    topic: uuid.UUID, partition: int, offset: int
) -> None:
    assert event_id(topic, partition, offset) == str(uuid.uuid5(topic, f"{partition}:{offset}"))


@given(st.datetimes(timezones=st.just(NOON.tzinfo)))
def test_times_survive_as_nanoseconds(time: Any) -> None:
    assert moment(nanoseconds(time)) == time
