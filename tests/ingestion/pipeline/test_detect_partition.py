"""One partition in its owner's hands, without a broker: what comes of messages depends on nothing but the messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalies.detection import loading, saving
from anomalies.detection.engine import Engine
from anomalies.detection.instructions import Instructions
from anomalies.detection.overrides import OverrideSet, Rule
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.verdicts import Episode, Minute
from baselines.checkpoints import Tick
from baselines.stats.series import Pair
from baselines.store import PartitionName
from ingestion.formats.validation import Limits
from ingestion.partition import LAST_TICK, OwnedPartition, Work
from ingestion.recent import RecentIds
from tests.ingestion.pipeline.fakes import FakeMessage, as_messages
from tests.ingestion.pipeline.recordings import BEGIN, call, message, traffic

NAME = PartitionName("llm.telemetry", UUID(int=9), 0)
SETTINGS = DetectionSettings(window=100, min_samples=10)
WINDOW = 500
MESSAGES = as_messages([*traffic(900), (b"x|y", b"not an event", 0), *traffic(100, seed=8, begin=BEGIN)])


def fresh(offset: int = 0) -> OwnedPartition:
    engine = Engine(SETTINGS, NAME.topic_id, NAME.partition)
    return OwnedPartition(NAME, engine, saving.StateWriter(engine), RecentIds(WINDOW), Limits(), offset)


@dataclass
class Totals:
    """What the database and the topics hold in the end: the last word about each episode and minute, all the rest."""

    episodes: dict[UUID, Episode] = field(default_factory=dict)
    minutes: dict[tuple[object, ...], Minute] = field(default_factory=dict)
    detections: list[tuple[bytes, bytes]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    pieces: dict[str, bytes] = field(default_factory=dict)
    offset: int = 0

    def add(self, work: Work) -> None:
        self.episodes |= {episode.id: episode for episode in work.episodes}
        self.minutes |= {(minute.pair, minute.minute_ms, minute.first_offset): minute for minute in work.minutes}
        self.detections += work.detections
        self.refused += [record.offset for record, _ in work.refused]
        kept = {name: piece for name, piece in self.pieces.items() if name not in work.outdated}
        self.pieces = work.pieces if work.is_whole else kept | work.pieces
        self.offset = work.offset


def restored(totals: Totals, ticks: list[Tick]) -> OwnedPartition:
    """The partition as its next owner finds it."""
    if not totals.pieces:
        partition = fresh(totals.offset)
    else:
        engine = Engine(SETTINGS, NAME.topic_id, NAME.partition)
        writer = loading.load(engine, totals.pieces)
        recent = RecentIds(WINDOW)
        recent.load(totals.pieces)
        partition = OwnedPartition(NAME, engine, writer, recent, Limits(), totals.offset)
    partition.last_tick = int(totals.pieces.get(LAST_TICK, b"0"))
    known = partition.last_tick
    partition.ticks = deque(tick for tick in ticks if tick.offset >= totals.offset and tick.number > known)
    partition.replay_due_ticks()
    return partition


def run(messages: list[FakeMessage], cuts: list[int], drains: set[int], crashes: Set[int] = frozenset()) -> Totals:
    """Take messages in batches that end at `cuts`; drain behind some, lose all since the last drain behind others."""
    totals, partition, place = Totals(), fresh(), 0
    bounds = deque([*cuts, len(messages)])
    left = set(crashes)
    while place < len(messages):
        end = next(bound for bound in bounds if bound > place)
        partition.take(messages[place:end])  # type: ignore[arg-type]
        place = end
        if place in drains or place == len(messages):
            totals.add(partition.drain())
        if place in left:
            left.discard(place)
            partition = restored(totals, [])
            place = totals.offset
    return totals


WHOLE = run(MESSAGES, [], set())


def test_there_is_something_to_compare() -> None:
    assert WHOLE.episodes
    assert WHOLE.minutes
    assert WHOLE.detections
    assert WHOLE.refused == [next(m.at for m in MESSAGES if m.payload == b"not an event")]


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(1, len(MESSAGES) - 1), max_size=12), st.data())
def test_any_cut_any_drain_and_any_crash_give_the_same(cuts: set[int], data: st.DataObject) -> None:
    drains = data.draw(st.sets(st.sampled_from(sorted(cuts))) if cuts else st.just(set()))
    crashes = data.draw(st.sets(st.sampled_from(sorted(cuts))) if cuts else st.just(set()))
    totals = run(MESSAGES, sorted(cuts), drains, crashes)
    assert totals.episodes == WHOLE.episodes
    assert totals.minutes == WHOLE.minutes
    assert totals.detections == WHOLE.detections
    assert totals.refused == WHOLE.refused
    assert totals.offset == WHOLE.offset


def test_a_repeated_event_counts_once_also_for_the_next_owner() -> None:
    event = call(BEGIN, request_id="only")
    totals, partition = Totals(), fresh()
    partition.take(as_messages([message(event)]))  # type: ignore[arg-type]
    totals.add(partition.drain())
    follower = restored(totals, [])
    follower.take(as_messages([message(event), message(event)], first=1))  # type: ignore[arg-type]
    follower.take(as_messages([message(call(BEGIN + timedelta(minutes=5), request_id="other"))], first=3))  # type: ignore[arg-type]
    totals.add(follower.drain())
    assert [minute.count for minute in totals.minutes.values()] == [1]


def test_an_event_from_the_future_is_clamped_and_makes_no_other_late() -> None:
    future = call(BEGIN + timedelta(days=30), request_id="future")
    totals, partition = Totals(), fresh()
    sent = [message(future, record=BEGIN), *(message(call(BEGIN + timedelta(seconds=n))) for n in range(5))]
    partition.take(as_messages(sent))  # type: ignore[arg-type]
    partition.take(as_messages([message(call(BEGIN + timedelta(minutes=10)))], first=6))  # type: ignore[arg-type]
    totals.add(partition.drain())
    counts = [minute.count for minute in totals.minutes.values()]
    assert sorted(counts) in ([6], [1, 5])
    latest = max(minute.minute_ms for minute in totals.minutes.values())
    assert latest <= (BEGIN + timedelta(minutes=6)).timestamp() * 1000


def idle(partition: OwnedPartition, seconds: float) -> int | None:
    """The record time of the tick that is due once the partition was read up and then idle for so long."""
    partition.is_at_end = True
    be_idle(partition, seconds)
    tick = partition.due_tick()
    return tick.now_ms if tick else None


def let_pass(partition: OwnedPartition, now_ms: int | None = None, instructions: Instructions | None = None) -> Tick:
    """Have a tick happen as if it had been made durable; returns it."""
    said = instructions.to_bytes() if instructions is not None else None
    tick = Tick(partition.next_offset, now_ms, said, partition.last_tick + 1)
    partition.tick(tick)
    return tick


def be_idle(partition: OwnedPartition, seconds: float) -> None:
    """Have the broker say, every five seconds, that there is nothing more."""
    end = partition.idleness.confirmed + seconds
    while partition.idleness.confirmed < end:
        partition.idleness.confirm(min(end, partition.idleness.confirmed + 5.0))


def test_idle_time_ends_what_no_event_would_end_but_only_at_the_end_of_the_partition() -> None:
    partition = fresh()
    partition.take(as_messages([message(call(BEGIN))]))  # type: ignore[arg-type]
    be_idle(partition, 1000)
    assert partition.due_tick() is None  # there may be more to read
    now_ms = idle(partition, 0)
    assert now_ms is not None
    assert now_ms >= (BEGIN + timedelta(seconds=1000)).timestamp() * 1000 - 1  # a clock in binary fractions
    let_pass(partition, now_ms)
    assert [minute.count for minute in partition.drain().minutes] == [1]
    assert idle(partition, 5000) is None  # nothing is open any more


def test_a_broker_that_cannot_be_asked_lets_no_time_pass() -> None:
    partition = fresh()
    partition.take(as_messages([message(call(BEGIN))]))  # type: ignore[arg-type]
    partition.is_at_end = True
    began = partition.idleness.confirmed
    partition.idleness.confirm(began + 1000)  # and it was asked in vain before
    assert partition.due_tick() is None
    be_idle(partition, 55)
    assert partition.due_tick() is None  # who sends may need a while to be back
    assert idle(partition, 55) == round(BEGIN.timestamp() * 1000) + 110_000


def test_a_clock_that_is_wrong_ends_nothing_early() -> None:
    partition = fresh()
    partition.take(as_messages([message(call(BEGIN))]))  # type: ignore[arg-type]
    assert idle(partition, 20) is None


@pytest.mark.parametrize("crash", ["before the tick was let pass", "behind what it ended"])
def test_a_tick_is_replayed_where_it_happened(crash: str) -> None:
    """A late event after the tick opens its minute again; it would not, had the tick been forgotten."""
    before, late = as_messages([message(call(BEGIN))]), as_messages([message(call(BEGIN))], first=1)
    expected, partition = Totals(), fresh()
    partition.take(before)  # type: ignore[arg-type]
    expected.add(partition.drain())
    covered = Totals(pieces=dict(expected.pieces), offset=1)
    now_ms = idle(partition, 3600)
    assert now_ms is not None
    tick = let_pass(partition, now_ms)
    expected.add(partition.drain())
    if crash == "behind what it ended":
        covered = Totals(minutes=dict(expected.minutes), pieces=dict(expected.pieces), offset=1)
    follower = restored(covered, [tick])
    for owner, totals in ((partition, expected), (follower, covered)):
        owner.take(late)  # type: ignore[arg-type]
        let_pass(owner, now_ms + 7_200_000)
        totals.add(owner.drain())
    assert covered.minutes == expected.minutes
    assert len(covered.minutes) == 2


def test_a_tick_behind_the_last_message_is_replayed_too() -> None:
    partition = fresh()
    partition.ticks = deque([Tick(1, round(BEGIN.timestamp() * 1000) + 3_600_000, number=1)])
    partition.take(as_messages([message(call(BEGIN))]))  # type: ignore[arg-type]
    assert [minute.count for minute in partition.drain().minutes] == [1]
    assert not partition.ticks


def test_a_drain_is_whole_once_when_the_store_lost_the_state() -> None:
    partition = fresh()
    partition.take(MESSAGES[:300])  # type: ignore[arg-type]
    totals = Totals()
    totals.add(partition.drain())
    partition.is_whole_wanted = True
    whole = partition.drain()
    assert whole.is_whole
    assert whole.pieces == totals.pieces
    assert not partition.drain().is_whole


SILENT = DetectionSettings(mode="calibrated")
STEADY = as_messages(message(call(BEGIN + timedelta(seconds=n))) for n in range(300))


def silent_partition(totals: Totals | None = None, ticks: list[Tick] | None = None) -> OwnedPartition:
    """A partition in calibrated mode, as its next owner finds it."""
    engine = Engine(SILENT, NAME.topic_id, NAME.partition)
    pieces = totals.pieces if totals else {}
    writer = loading.load(engine, pieces) if pieces else saving.StateWriter(engine)
    offset = totals.offset if totals else 0
    partition = OwnedPartition(NAME, engine, writer, RecentIds(WINDOW), Limits(), offset)
    partition.last_tick = known = int(pieces.get(LAST_TICK, b"0"))
    partition.ticks = deque(tick for tick in ticks or [] if tick.offset >= offset and tick.number > known)
    partition.replay_due_ticks()
    return partition


def let_idle_time_pass(partition: OwnedPartition, totals: Totals, seconds: int) -> list[Tick]:
    """Idle time in steps of a second, drained after each tick; returns the ticks."""
    ticks = []
    for _ in range(seconds):
        now_ms = idle(partition, 1)
        if now_ms is not None:
            ticks.append(let_pass(partition, now_ms))
            totals.add(partition.drain())
    return ticks


def silences(totals: Totals) -> dict[UUID, Episode]:
    return {name: episode for name, episode in totals.episodes.items() if episode.key.metric == "silence"}


def test_a_silence_is_told_of_the_end_of_a_partition_and_ended_by_the_next_event() -> None:
    totals, partition = Totals(), silent_partition()
    partition.take(STEADY)  # type: ignore[arg-type]
    let_idle_time_pass(partition, totals, 200)
    (told,) = silences(totals).values()
    assert (told.state, told.first_offset) == ("active", 299)
    partition.take(as_messages([message(call(BEGIN + timedelta(seconds=700)))], first=300))  # type: ignore[arg-type]
    totals.add(partition.drain())
    (told,) = silences(totals).values()
    assert (told.state, told.value) == ("ended", 401.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 299), st.integers(0, 5), st.booleans())
def test_a_silence_is_the_same_after_any_crash(drained: int, ticks_saved: int, is_replayed_whole: bool) -> None:
    """A crash behind any of the ticks, whose state was saved up to another one: the ticks are replayed."""
    behind = as_messages([message(call(BEGIN + timedelta(seconds=1500 + n))) for n in range(60)], first=300)
    expected, owner = Totals(), silent_partition()
    owner.take(STEADY)  # type: ignore[arg-type]
    ticks = let_idle_time_pass(owner, expected, 800)
    owner.take(behind)  # type: ignore[arg-type]
    expected.add(owner.drain())
    assert len(ticks) >= 5
    totals, owner = Totals(), silent_partition()
    if not is_replayed_whole:
        owner.take(STEADY[:drained])  # type: ignore[arg-type]
        totals.add(owner.drain())
    follower = silent_partition(totals, ticks)
    if follower.next_offset < 300:
        follower.take(STEADY[follower.next_offset :])  # type: ignore[arg-type]
    totals.add(follower.drain())
    follower = silent_partition(totals, ticks[ticks_saved:])
    follower.take(behind)  # type: ignore[arg-type]
    totals.add(follower.drain())
    assert silences(totals) == silences(expected)
    assert totals.minutes == expected.minutes


# What operators say

QUIET = Instructions.of(OverrideSet.of([Rule(service="chat-api", muted=True)], {}), {})
BOLD = Instructions.of(OverrideSet.of([Rule(thresholds={"zscore": 2.0}, direction="both")], {}), {})
GONE = Instructions.of(OverrideSet(), {Pair("search", "gpt-4"): round(BEGIN.timestamp() * 1000) + 60_000})


def run_told(switches: dict[int, Instructions], cuts: set[int], crashes: Set[int] = frozenset()) -> Totals:
    """As `run`, but operators say something before some messages: each switch is durable before it takes effect."""
    totals, partition, place = Totals(), fresh(), 0
    durable: dict[int, Tick] = {}
    left = set(crashes)
    while place < len(MESSAGES):
        end = min(bound for bound in {*cuts, *crashes, *switches, len(MESSAGES)} if bound > place)
        partition.take(MESSAGES[place:end])  # type: ignore[arg-type]
        place = end
        if place in switches and place not in durable:
            totals.add(partition.drain())
            durable[place] = Tick(partition.next_offset, None, switches[place].to_bytes(), len(durable) + 1)
            if place not in left:
                partition.tick(durable[place])
        if place in left:
            left.discard(place)
            partition = restored(totals, list(durable.values()))
            place = totals.offset
    totals.add(partition.drain())
    return totals


def test_what_operators_said_changes_what_is_found() -> None:
    told = run_told({300: QUIET}, set())
    assert told.episodes != WHOLE.episodes
    assert any(episode.key.service == "chat-api" and episode.first_offset > 300 for episode in WHOLE.episodes.values())
    late = [episode for episode in told.episodes.values() if episode.first_offset > 300]
    assert late
    assert not [episode for episode in late if episode.key.service == "chat-api"]


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(st.integers(1, len(MESSAGES) - 1), st.sampled_from([QUIET, BOLD, GONE]), min_size=1, max_size=3),
    st.sets(st.integers(1, len(MESSAGES) - 1), max_size=6),
    st.data(),
)
def test_any_cut_and_any_crash_give_the_same_with_a_switch_in_between(
    switches: dict[int, Instructions], cuts: set[int], data: st.DataObject
) -> None:
    crashes = data.draw(st.sets(st.sampled_from(sorted({*cuts, *switches})), max_size=4))
    whole, broken = run_told(switches, set()), run_told(switches, cuts, crashes)
    assert broken.episodes == whole.episodes
    assert broken.minutes == whole.minutes
    assert broken.detections == whole.detections
    assert broken.offset == whole.offset


def test_only_news_is_due_and_the_state_keeps_it() -> None:
    partition = fresh()
    assert partition.due_tick(None) is None
    assert partition.due_tick(Instructions()) is None
    tick = partition.due_tick(QUIET)
    assert tick == Tick(0, None, QUIET.to_bytes())
    partition.tick(tick._replace(number=7))
    assert partition.due_tick(QUIET) is None
    assert partition.due_tick(BOLD) is not None
    totals = Totals()
    totals.add(partition.drain())
    follower = restored(totals, [tick._replace(number=7)])
    assert (follower.engine.instructions, follower.last_tick) == (QUIET, 7)
    assert follower.due_tick(QUIET) is None


def test_pairs_beyond_the_most_are_named_now_and_then() -> None:
    engine = Engine(DetectionSettings(max_pairs=1), NAME.topic_id, NAME.partition)
    partition = OwnedPartition(NAME, engine, saving.StateWriter(engine), RecentIds(WINDOW), Limits(), 0)
    calls = [message(call(BEGIN + timedelta(seconds=n), service)) for n, service in enumerate("abcabc")]
    partition.take(as_messages(calls))  # type: ignore[arg-type]
    work = partition.drain()
    assert {pair.service for pair in work.last_seen} == {"a", "__other__"}
    assert {pair.service for pair in work.capped} == {"b", "c"}
    partition.take(as_messages([message(call(BEGIN + timedelta(seconds=9), "b"))], first=6))  # type: ignore[arg-type]
    assert not partition.drain().capped


def test_a_drain_says_who_serves_the_pairs_that_it_names_as_far_as_their_events_do():
    partition = fresh()
    served, unknown = call(BEGIN, "chat", "gpt", provider="openai"), call(BEGIN, "chat", "own")
    partition.take(as_messages([message(served), message(unknown)]))
    work = partition.drain()
    assert set(work.last_seen) == {Pair("chat", "gpt"), Pair("chat", "own")}
    assert work.providers == {Pair("chat", "gpt"): "openai"}
