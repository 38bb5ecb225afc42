"""Reading recorded files: native lines and traces of tokens."""

import gzip
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ingestion.formats import native
from ingestion.formats.event import Event
from ingestion.formats.validation import Limits
from ingestion.recordings import (
    MOST_LINE_BYTES,
    CallCost,
    Recorded,
    Recording,
    RecordingError,
    Trace,
    read_llm_trace,
    read_native,
    restamped,
)

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
TRACE = HEADER + "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n"


def flat(name: str = "chat-api", second: int = 0, **more: object) -> bytes:
    fields = {
        "timestamp": f"2024-11-06T10:25:{second:02d}Z",
        "service_name": name,
        "model_name": "gpt-4",
        "latency_ms": 1200.5,
        "prompt_tokens": 100,
        "completion_tokens": 20,
    }
    return msgspec.json.encode(fields | more)


def write(path: Path, *lines: bytes, end: bytes = b"\n") -> Path:
    path.write_bytes(b"".join(line + end for line in lines))
    return path


def natives(path: Path) -> tuple[list[Recorded], list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []
    with Recording(path) as recording:
        return list(read_native(recording, lambda line, reason: bad.append((line, reason)))), bad


def trace(path: Path, **how: object) -> tuple[list[Event], list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []
    with Recording(path) as recording:
        rows = read_llm_trace(recording, lambda line, reason: bad.append((line, reason)), Trace(**how))
        decoded = [native.decode(row.payload, received_ms=row.timestamp_ns // 10**6, limits=Limits()) for row in rows]
    return decoded, bad


def test_native_lines_come_out_as_they_were_recorded(tmp_path):
    lines = [flat(second=1, custom={"kept": True}), flat("search", second=2, prompt_text="the whole text")]
    records, bad = natives(write(tmp_path / "a.jsonl", *lines))
    assert [r.payload for r in records] == lines
    assert [(r.line, r.service, r.model) for r in records] == [(1, "chat-api", "gpt-4"), (2, "search", "gpt-4")]
    assert records[1].timestamp_ns - records[0].timestamp_ns == 10**9
    assert bad == []


def test_bad_lines_are_told_by_number_and_reading_goes_on(tmp_path):
    path = write(tmp_path / "a.jsonl", flat(), b"{not json", b"", b'{"timestamp": "2024-11-06T10:25:00Z"}', flat())
    records, bad = natives(path)
    assert [r.line for r in records] == [1, 5]
    assert [line for line, _ in bad] == [2, 4]
    assert "service_name" in bad[1][1]


def test_a_line_too_long_to_be_a_message_is_bad_and_never_held_in_memory_whole(tmp_path):
    records, bad = natives(write(tmp_path / "a.jsonl", b"x" * (3 * MOST_LINE_BYTES), flat()))
    assert [r.line for r in records] == [2]
    assert bad == [(1, "longer than 1000000 bytes")]


def test_carriage_returns_byte_order_mark_and_a_missing_last_newline_do_no_harm(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + flat() + b"\r\n" + flat("search"))
    records, bad = natives(path)
    assert [r.payload for r in records] == [flat(), flat("search")]
    assert bad == []


def test_times_of_the_far_future_keep_their_spacing(tmp_path):
    lines = [flat(timestamp="2090-01-01T00:00:00Z"), flat(timestamp="2090-01-01T00:00:05Z")]
    records, _ = natives(write(tmp_path / "a.jsonl", *lines))
    assert records[1].timestamp_ns - records[0].timestamp_ns == 5 * 10**9


def test_gzip_is_recognised_by_content_not_by_name(tmp_path):
    path = tmp_path / "recording.jsonl"
    path.write_bytes(gzip.compress(flat() + b"\n" + flat("search") + b"\n"))
    records, _ = natives(path)
    assert [r.service for r in records] == ["chat-api", "search"]


def test_a_torn_gzip_file_says_after_which_line(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(b"\n".join(flat(second=n % 60, note=str(n * 7919)) for n in range(5000)))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match=r"damaged gzip data after line \d+"):
        natives(path)


def test_a_file_that_does_not_exist_is_named():
    with pytest.raises(RecordingError, match=r"/nowhere/x\.jsonl: No such file"):
        Recording(Path("/nowhere/x.jsonl"))


def test_the_position_ends_at_the_size_of_the_file(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(flat() + b"\n"))
    with Recording(path) as recording:
        assert list(read_native(recording, pytest.fail))
        assert recording.position == recording.size == path.stat().st_size


def test_a_trace_gives_tokens_times_latency_and_cost(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TRACE)
    cost = CallCost(base_ms=100, ms_per_input_token=0.1, ms_per_output_token=20, noise=0)
    rows, bad = trace(path, service="code", model="m", cost=cost)
    assert bad == []
    assert [(e.service, e.model, e.prompt_tokens, e.completion_tokens) for e in rows] == [
        ("code", "m", 4808, 10),
        ("code", "m", 3180, 8),
    ]
    assert [e.latency_ms for e in rows] == pytest.approx([100 + 480.8 + 200, 100 + 318 + 160])
    assert rows[0].cost_usd == pytest.approx(4808 * 0.0025 / 1000 + 10 * 0.010 / 1000)
    assert rows[1].timestamp_ns - rows[0].timestamp_ns == 52_000_000
    assert rows[0].event_id is None


def test_the_noise_of_a_trace_is_log_normal_and_its_seed_decides(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(HEADER + "2023-11-16 18:17:03.9799600,1000,10\n" * 10_000)
    one, _ = trace(path, seed=1)
    again, _ = trace(path, seed=1)
    other, _ = trace(path, seed=2)
    logs = np.log([e.latency_ms for e in one])
    assert logs.mean() == pytest.approx(math.log(300 + 80 + 220), abs=0.01)
    assert logs.std() == pytest.approx(0.35, rel=0.03)
    assert one == again
    assert one != other


def test_a_bad_line_does_not_change_the_noise_of_the_others(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(HEADER + "2023-11-16 18:17:03,1,2\n2023-11-16 18:17:04,1,2\n")
    whole, _ = trace(path)
    path.write_text(HEADER + "2023-11-16 18:17:03,one,2\n2023-11-16 18:17:04,1,2\n")
    rest, bad = trace(path)
    assert rest == whole[1:]
    assert bad == [(2, "ContextTokens must be a count of tokens, not 'one'")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("yesterday,1,2", "TIMESTAMP must be a date and time"),
        ("2023-11-16 18:17:03,-1,2", "ContextTokens must be a count"),
        ("2023-11-16 18:17:03,1,2.5", "GeneratedTokens must be a count"),
        ("2023-11-16 18:17:03,1", "has 2 columns"),
        ('"2023-11-16 18:17:03,1,2', "has 1 columns"),
    ],
)
def test_bad_rows_of_a_trace_say_what_is_allowed(tmp_path, row, reason):
    path = tmp_path / "t.csv"
    path.write_text(HEADER + row + "\n")
    rows, bad = trace(path)
    assert rows == []
    assert bad[0][0] == 2
    assert reason in bad[0][1]


def test_columns_of_a_trace_may_stand_in_any_order_among_others(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("GeneratedTokens,extra,TIMESTAMP,ContextTokens\n7,x,2024-05-10 00:00:00.009930+00:00,5\n")
    rows, _ = trace(path)
    assert (rows[0].prompt_tokens, rows[0].completion_tokens) == (5, 7)
    assert rows[0].timestamp_ns == 1_715_299_200_009_930_000


@pytest.mark.parametrize("header", ["TIMESTAMP,ContextTokens\n", "", "a,b,c\n"])
def test_a_trace_without_its_columns_is_refused(tmp_path, header):
    path = tmp_path / "t.csv"
    path.write_text(header)
    with pytest.raises(RecordingError, match=r"missing: .*GeneratedTokens"):
        trace(path)


def test_restamping_changes_the_time_and_nothing_else():
    payload = flat(event_id="e1", custom=[1, {"deep": None}])
    changed = msgspec.json.decode(restamped(payload, 1_700_000_000_123_000_000))
    assert changed.pop("timestamp") == "2023-11-14T22:13:20.123Z"
    original = msgspec.json.decode(payload)
    del original["timestamp"]
    assert changed == original


def test_ids_are_dropped_only_when_asked():
    payload = flat(event_id="e1", request_id="r1")
    assert msgspec.json.decode(restamped(payload, 0))["event_id"] == "e1"
    assert not {"event_id", "request_id"} & msgspec.json.decode(restamped(payload, 0, without_id=True)).keys()
