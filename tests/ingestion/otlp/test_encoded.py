"""Attributes of spans left as bytes: what they say is what OTLP's own classes say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ingestion.formats.otlp import encoded
from ingestion.formats.otlp.attributes import SPAN_WITH_TEXTS, collect
from ingestion.formats.otlp.encoded import EncodedAttributes, EncodedSpans
from ingestion.formats.validation import Rejection

PRIMITIVES = st.one_of(
    st.builds(AnyValue),
    st.builds(AnyValue, string_value=st.text(max_size=8) | st.sampled_from(["7", "-1", "1e9", "NaN", "a\0b"])),
    st.builds(AnyValue, int_value=st.integers(-3, 9)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=4)),
)
VALUES = PRIMITIVES | st.builds(AnyValue, array_value=st.builds(ArrayValue, values=st.lists(PRIMITIVES, max_size=2)))
ATTRIBUTES = st.builds(KeyValue, key=st.sampled_from([*SPAN_WITH_TEXTS, "server.address", ""]), value=VALUES)
READER = EncodedAttributes(SPAN_WITH_TEXTS)


def outcome(read: Any, *arguments: Any) -> str:
    """As text, in which NaN equals itself."""
    try:
        return repr(read(*arguments))
    except Rejection as rejection:
        return repr((rejection.code, rejection.field, rejection.detail))


@given(st.lists(ATTRIBUTES, max_size=8))
def test_encoded_attributes_say_the_same_the_first_time_and_after(attributes: list[KeyValue]) -> None:
    payload = [attribute.SerializeToString() for attribute in attributes]
    expected = outcome(collect, attributes, SPAN_WITH_TEXTS)
    assert outcome(READER.collect, payload) == expected
    assert outcome(READER.collect, payload) == expected


def test_a_value_that_cannot_be_read_rejects_its_span_only_if_it_counts() -> None:
    newest = KeyValue(key="gen_ai.usage.input_tokens", value=AnyValue(int_value=5)).SerializeToString()
    oldest = KeyValue(key="llm.prompt.tokens", value=AnyValue(string_value="five")).SerializeToString()
    assert READER.collect([newest, oldest]) == {"prompt_tokens": 5}
    with pytest.raises(Rejection, match=r"llm\.prompt\.tokens"):
        READER.collect([oldest, newest])


def test_bytes_that_are_no_utf_8_are_rejected_wanted_or_not() -> None:
    broken = KeyValue(key="server.address", value=AnyValue(string_value="host")).SerializeToString()[:-1] + b"\xff"
    for _ in range(2):
        with pytest.raises(Rejection, match="not UTF-8"):
            READER.collect([broken])


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "MOST_REMEMBERED", 3)
    reader = EncodedAttributes(SPAN_WITH_TEXTS)
    long = "x" * encoded.LONGEST_REMEMBERED
    for text in ("a", "b", "c", "d", "e", long):
        payload = KeyValue(key="gen_ai.request.model", value=AnyValue(string_value=text)).SerializeToString()
        assert reader.collect([payload]) == {"model": text}
        assert len(reader._known) <= 3
        assert payload not in reader._known or text != long


def test_everything_else_of_a_span_is_read_as_it_is() -> None:
    span = Span(trace_id=b"t" * 16, name="chat", start_time_unix_nano=1, attributes=[KeyValue(key="a")])
    request = EncodedSpans.FromString(b"")
    read: Any = type(request.resource_spans.add().scope_spans.add().spans.add()).FromString(span.SerializeToString())
    assert (read.trace_id, read.name, read.start_time_unix_nano) == (span.trace_id, "chat", 1)
    assert list(read.attributes) == [KeyValue(key="a").SerializeToString()]
    assert read.SerializeToString() == span.SerializeToString()


def test_what_is_not_wanted_is_remembered_only_if_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "MOST_NOTED", 2)
    reader = EncodedAttributes(SPAN_WITH_TEXTS)
    host = KeyValue(key="server.address", value=AnyValue(string_value="host")).SerializeToString()
    ids = [KeyValue(key="id", value=AnyValue(int_value=number)).SerializeToString() for number in range(9)]
    assert reader.collect([host, host, *ids]) == {}
    assert set(reader._known) == {host}
    assert len(reader._unwanted) <= 2
