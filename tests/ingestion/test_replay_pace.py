"""When replayed events are sent, and how they are dated; by a clock that takes no time."""

from math import inf

import msgspec
import pytest

from ingestion.formats.timestamps import rfc3339, unix_nanoseconds
from ingestion.pacing import GRAIN_NS, LONGEST_WAIT_S, Pace
from ingestion.recordings import Recorded
from ingestion.replaying import replaying
from tests.support.clock import ManualClock

SECOND = 10**9
THEN = 1_600_000_000 * SECOND
NOW = 1_767_960_000 * SECOND


class Published:
    """Takes what a Publisher takes, and remembers when."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.at: list[int] = []
        self.payloads: list[dict[str, object]] = []

    def publish(self, service: str, model: str, payload: bytes) -> None:
        self.at.append(self._clock.now_ns() - NOW)
        self.payloads.append(msgspec.json.decode(payload))

    @property
    def times(self) -> list[int]:
        return [unix_nanoseconds(str(p["timestamp"])) for p in self.payloads]


def recorded(*offsets_s: float) -> list[Recorded]:
    rows = []
    for line, offset in enumerate(offsets_s, 1):
        at = THEN + round(offset * SECOND)
        payload = msgspec.json.encode({"timestamp": rfc3339(at), "event_id": f"e{line}"})
        rows.append(Recorded(line, at, "chat-api", "gpt-4", payload))
    return rows


def replay(rows: list[Recorded], speed: float = 1.0, stop_at_s: float | None = None, **how: bool):
    clock = ManualClock(NOW, None if stop_at_s is None else NOW + round(stop_at_s * SECOND))
    published = Published(clock)
    options = {"dated_now": False, "new_ids": False} | how
    list(replaying(rows, published, clock, speed, **options))  # type: ignore[arg-type]
    return published, clock


@pytest.mark.parametrize(("speed", "expected"), [(1, [0, 4, 10]), (2, [0, 2, 5]), (0.5, [0, 8, 20]), (inf, [0, 0, 0])])
def test_the_spacing_is_divided_by_the_speed(speed, expected):
    published, _ = replay(recorded(0, 4, 10), speed)
    assert published.at == pytest.approx([e * SECOND for e in expected], abs=GRAIN_NS)


def test_at_the_highest_speed_nothing_waits():
    _, clock = replay(recorded(*range(1000)), inf)
    assert clock.waits == []


def test_time_lost_is_caught_up_and_does_not_add_up():
    rows = recorded(*(n / 1000 for n in range(5000)))
    published, _ = replay(rows)
    assert published.at[-1] == pytest.approx(4.999 * SECOND, abs=GRAIN_NS)


def test_times_that_run_backwards_are_sent_at_once():
    published, _ = replay(recorded(0, 10, 3, 11))
    assert published.at == pytest.approx([0, 10 * SECOND, 10 * SECOND, 11 * SECOND], abs=GRAIN_NS)


def test_original_timestamps_stay():
    published, _ = replay(recorded(0, 4))
    assert published.times == [THEN, THEN + 4 * SECOND]


def test_dated_now_events_bear_the_time_of_their_sending():
    published, _ = replay(recorded(0, 4, 10), 2.0, dated_now=True)
    assert published.times == pytest.approx([NOW, NOW + 2 * SECOND, NOW + 5 * SECOND], abs=GRAIN_NS)
    assert [p["event_id"] for p in published.payloads] == ["e1", "e2", "e3"]


def test_new_ids_leaves_the_identity_to_the_place_in_kafka_but_keeps_the_time():
    published, _ = replay(recorded(0, 4), new_ids=True)
    assert [p.get("event_id") for p in published.payloads] == [None, None]
    assert published.times == [THEN, THEN + 4 * SECOND]


def test_a_stop_ends_a_long_wait_within_half_a_second():
    published, clock = replay(recorded(0, 3600), stop_at_s=1.0)
    assert published.at == [0]
    assert clock.now_ns() - NOW <= (1.0 + LONGEST_WAIT_S) * SECOND


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_impossible_speeds_are_refused(speed):
    with pytest.raises(ValueError, match="above 0"):
        Pace(ManualClock(NOW), speed)
