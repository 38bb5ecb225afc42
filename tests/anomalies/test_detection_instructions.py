"""What operators say, taken up by an engine: policies of series, retired pairs, and that replays do the same."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalies.detection import loading, obedience, saving
from anomalies.detection.arrays import Columns
from anomalies.detection.engine import Engine
from anomalies.detection.instructions import Instructions
from anomalies.detection.overrides import OverrideSet, Rule
from anomalies.detection.settings import CALIBRATED, DETECTORS, DetectionSettings
from anomalies.detection.verdicts import Episode
from baselines.stats.series import FREE, METRIC_INDEX, Pair
from tests.anomalies.test_detection_calibrated import FROM, episodes_of
from tests.anomalies.test_detection_calibrated import traffic as calls
from tests.support.telemetry import NOON_MS, TOPIC, Told, engine, latencies, part, traffic, watching

SERVICE = Pair("chat-api", "gpt-4")
LATENCY = METRIC_INDEX["latency_ms"]
NORMAL = [100.0, 101.0, 99.0, 102.0, 98.0] * 20


def said(*rules: Rule, retired: dict[Pair, int] | None = None) -> Instructions:
    return Instructions.of(OverrideSet.of(rules, {}), retired or {})


def instructed(instructions: Instructions, config: DetectionSettings | None = None) -> Engine:
    """An engine with one pair, `chat-api:gpt-4`, under instructions."""
    made = Engine(config or DetectionSettings(mode="calibrated"), TOPIC, 3)
    made.pair_row(*SERVICE)
    obedience.take_up(made, instructions)
    return made


def under(rule: Rule, columns: Columns, **config: Any) -> list[Episode]:
    """The episodes of latency in calls under a rule, in calibrated mode."""
    made = instructed(said(rule), DetectionSettings(mode="calibrated", **config))
    return [episode for episode in episodes_of(columns, made) if episode.key.metric == "latency_ms"]


# What a series is told by: classic


@pytest.mark.parametrize(
    ("rule", "flagged"),
    [
        (Rule(), True),
        (Rule(thresholds={"zscore": 40.0}), False),
        (Rule(service="other", thresholds={"zscore": 40.0}), True),
        (Rule(metric="cost_usd", thresholds={"zscore": 40.0}), True),
        (Rule(detectors={"zscore": False}), False),
        (Rule(detectors={"zscore": False, "mad": True}), True),
        (Rule(thresholds={"zscore": 7.0}), True),
        (Rule(thresholds={"zscore": 7.0}, sensitivity="low"), False),
        (Rule(direction="down"), False),
        (Rule(direction="up"), True),
        (Rule(muted=True), False),
    ],
)
def test_a_rule_decides_whether_a_sample_seven_and_a_half_deviations_off_is_told(rule: Rule, flagged: bool) -> None:
    made = Engine(watching("zscore", "iqr", iqr_multiplier=1000.0), TOPIC, 3)
    made.pair_row(*SERVICE)
    obedience.take_up(made, said(rule))
    made.score(latencies(NORMAL))
    spread = float(np.std(NORMAL))
    after = latencies([100.0 + 8 * spread], offset=100, event_ms=NOON_MS + 100_000)
    assert bool(made.score(after)) is flagged


def test_a_threshold_also_holds_for_the_baseline_that_is_there() -> None:
    made = Engine(watching("zscore"), TOPIC, 3)
    made.pair_row(*SERVICE)
    made.score(latencies(NORMAL))
    outlier = [120.0]
    assert made.score(latencies(outlier, offset=100, event_ms=NOON_MS + 100_000))
    obedience.take_up(made, said(Rule(thresholds={"zscore": 1000.0})))
    assert not made.score(latencies(outlier, offset=101, event_ms=NOON_MS + 101_000))
    obedience.take_up(made, said())
    assert made.score(latencies(outlier, offset=102, event_ms=NOON_MS + 102_000))


# Calibrated


def test_a_rule_may_make_the_calibrated_detectors_bolder_or_more_cautious() -> None:
    small = calls(latency=1.08)
    assert not under(Rule(), small)
    assert under(Rule(thresholds={"shift": 0.5}), small)
    grave = calls(latency=2.0)
    assert under(Rule(), grave)
    assert not under(Rule(thresholds={"shift": 50.0, "spike": 50.0}), grave)


@pytest.mark.parametrize(
    "rule", [Rule(detectors=dict.fromkeys(DETECTORS, False)), Rule(muted=True), Rule(direction="down")]
)
def test_what_a_rule_forbids_is_not_told(rule: Rule) -> None:
    assert not under(rule, calls(latency=3.0))


def test_detectors_can_be_switched_off_for_all_series() -> None:
    columns = calls(latency=3.0)
    config = DetectionSettings(mode="calibrated", enabled=("error_burst",), metrics={})
    assert episodes_of(columns, instructed(said(), config)) == []
    assert [e.key.metric for e in episodes_of(calls(errors=0.3), instructed(said(), config))] == ["error_rate"]


def test_a_deviation_below_what_the_rule_asks_for_stays_info() -> None:
    columns = calls(latency=2.0)
    assert [episode.severity for episode in under(Rule(), columns)] != ["info"]
    assert [episode.severity for episode in under(Rule(min_deviation=5.0), columns)] == ["info"]


def test_sensitivity_of_the_configuration_is_that_of_series_without_a_rule() -> None:
    made = instructed(said(Rule(metric="cost_usd", sensitivity="low")), DetectionSettings(sensitivity="high"))
    zscore = DETECTORS.index("zscore")
    table, rows = made.tables.policies["threshold"], made.tables.policy_of[0]
    assert table[rows[LATENCY], zscore] == pytest.approx(3.0 * 5 / 6)
    assert table[rows[METRIC_INDEX["cost_usd"]], zscore] == pytest.approx(3.0 * 4 / 3)


def test_a_muted_series_is_learned_from() -> None:
    muted, open_ = instructed(said(Rule(muted=True))), instructed(said())
    for made in (muted, open_):
        assert made.score(calls()) == []
    row = muted.tables.series_of[0, LATENCY]
    assert muted.tables.series[row] == open_.tables.series[row]
    assert muted.tables.series[row]["samples"] == 1000


@pytest.mark.parametrize("rule", [Rule(muted=True), Rule(direction="down"), Rule(detectors={"shift": False})])
def test_what_is_forbidden_while_it_is_told_of_ends_and_is_told_again_when_it_may(rule: Rule) -> None:
    columns = calls(latency=3.0)
    made = instructed(said(Rule(detectors={"spike": False})))
    made.score(part(columns, 0, FROM + 60))
    (opened,) = made.drain().episodes
    assert opened.state == "active"
    obedience.take_up(made, said(Rule(detectors={"spike": False}), rule))
    (ended,) = made.drain().episodes
    assert (ended.id, ended.state) == (opened.id, "ended")
    made.score(part(columns, FROM + 60, FROM + 120))
    assert not made.drain().episodes
    obedience.take_up(made, said(Rule(detectors={"spike": False})))
    made.score(part(columns, FROM + 120, FROM + 180))
    assert [episode.state for episode in made.drain().episodes] == ["active"]


def test_a_drop_is_info_unless_a_rule_names_its_direction() -> None:
    low = latencies([*NORMAL, 1.0])
    grades = {}
    for direction in (None, "up", "down", "both"):
        made = Engine(watching("zscore"), TOPIC, 3)
        made.pair_row(*SERVICE)
        obedience.take_up(made, said(Rule(direction=direction)))
        made.score(low)
        grades[direction] = [episode.severity for episode in made.drain().episodes]
    assert grades == {None: ["info"], "up": [], "down": ["critical"], "both": ["critical"]}


def test_series_of_which_the_same_is_said_share_a_policy() -> None:
    made = engine(DetectionSettings(max_pairs=500), pairs=300)
    obedience.take_up(made, said(Rule(service="service-1*", sensitivity="low")))
    rows = made.tables.policy_of[:300]
    assert len(made.tables.policies) == 2 * len(METRIC_INDEX)
    is_named = np.array([pair.service.startswith("service-1") for pair in made.pairs])
    assert (rows[~is_named] == np.arange(len(METRIC_INDEX))).all()
    assert (rows[is_named] >= len(METRIC_INDEX)).all()
    late = made.pair_row("service-1000", "model")
    assert (made.tables.policy_of[late] == rows[1]).all()


def test_every_detector_of_the_calibrated_mode_has_a_factor_and_every_classic_one_a_threshold() -> None:
    made = instructed(said(Rule(thresholds={**dict.fromkeys(CALIBRATED, 2.0), "mad": 7.0})))
    thresholds = made.tables.policies[made.tables.policy_of[0, LATENCY]]["threshold"]
    assert thresholds[DETECTORS.index("mad")] == 7.0
    assert (thresholds[[DETECTORS.index(name) for name in CALIBRATED]] == 2.0).all()


# Retired pairs


def test_a_retired_pair_is_forgotten_and_its_row_and_series_are_given_to_the_next() -> None:
    made = Engine(DetectionSettings(mode="calibrated"), TOPIC, 3)
    made.pair_row(*SERVICE)
    columns = calls(latency=3.0)
    made.score(part(columns, 0, FROM + 100))
    made.drain()
    series, since = len(made.series_keys), int(columns.event_ms[FROM + 100])
    obedience.take_up(made, said(retired={SERVICE: since}))
    changes = made.drain()
    assert [episode.state for episode in changes.episodes] == ["ended"]
    assert changes.minutes  # what was counted is not lost
    assert made.pairs == [FREE]
    assert made.earliest_due() > since + 10**12  # nothing will ever be told of it
    assert made.pair_row("other", "gpt-4") == 0
    made.score(calls(2))
    assert len(made.series_keys) == series
    fresh = Engine(DetectionSettings(mode="calibrated"), TOPIC, 3)
    fresh.pair_row("other", "gpt-4")
    fresh.score(calls(2))
    assert all((mine[0] == its[0]).all() for mine, its in zip(made.channels, fresh.channels, strict=True))
    assert (made.tables.rings[made.tables.series_of[0]] == fresh.tables.rings[fresh.tables.series_of[0]]).all()


def test_a_retired_pair_comes_back_as_a_new_one_with_its_next_later_event() -> None:
    made = Engine(watching("zscore"), TOPIC, 3)
    made.pair_row(*SERVICE)
    made.score(latencies([1.0] * 50))
    since = NOON_MS + 200_000
    obedience.take_up(made, said(retired={SERVICE: since}))
    row = made.pair_row(*SERVICE)
    # Still from before it was retired: counted and learned from, but nobody is told.
    assert not made.score(latencies([*NORMAL, 500.0], offset=np.arange(50, 151)))
    later = latencies([100.0, 500.0], offset=[151, 152], event_ms=[since + 1, since + 2])
    assert [detection.offset for detection in made.score(later._replace(pair=later.pair + row))] == [152]
    assert made.tables.series[made.tables.series_of[row, LATENCY]]["samples"] > 50


def test_a_pair_that_was_heard_of_since_is_not_retired() -> None:
    made = Engine(watching("zscore"), TOPIC, 3)
    made.pair_row(*SERVICE)
    made.score(latencies(NORMAL))
    obedience.take_up(made, said(retired={SERVICE: NOON_MS + 50_000}))
    assert made.pairs == [SERVICE]
    assert made.score(latencies([500.0], offset=100, event_ms=NOON_MS + 100_000))


def test_a_row_that_was_given_back_leaves_no_window_behind_in_the_state() -> None:
    made = engine(watching("zscore"))
    writer = saving.StateWriter(made)
    made.score(latencies(np.linspace(90, 110, 250)))
    image = writer.encode(made.drain().touched_pairs)
    assert "w:0:0:2" in image
    obedience.take_up(made, said(retired={made.pairs[0]: NOON_MS + 10**9}))
    made.pair_row("next", "model")
    made.score(latencies([100.0] * 120, offset=np.arange(250, 370)))
    pieces = writer.encode(made.drain().touched_pairs)
    assert writer.outdated & image.keys() == {"w:0:0:2"}
    image = {name: piece for name, piece in (image | pieces).items() if name not in writer.outdated}
    loaded = engine_from(image, watching("zscore"))
    assert loaded.pairs == [Pair("next", "model")]
    assert loaded.tables.series[0] == made.tables.series[made.tables.series_of[0, LATENCY]]


# Replays


def engine_from(image: dict[str, bytes], config: DetectionSettings) -> Engine:
    made = Engine(config, TOPIC, 3)
    loading.load(made, image)
    return made


PAIRS = 4
RULES = st.builds(
    Rule,
    service=st.sampled_from(["*", "service-0", "service-1"]),
    metric=st.sampled_from(["*", "latency_ms", "*tokens"]),
    detectors=st.dictionaries(st.sampled_from(DETECTORS), st.booleans(), max_size=3),
    thresholds=st.dictionaries(st.sampled_from(DETECTORS), st.sampled_from([0.8, 2.0, 5.0]), max_size=2),
    sensitivity=st.sampled_from([None, "low", "high"]),
    direction=st.sampled_from([None, "up", "down", "both"]),
    muted=st.sampled_from([None, False, True]),
)
RETIRED = st.dictionaries(
    st.integers(0, PAIRS - 1).map(lambda number: Pair(f"service-{number}", "model")),
    st.integers(NOON_MS, NOON_MS + 1_200_000),
    max_size=2,
)
SWITCHES = st.dictionaries(
    st.integers(0, 1499),
    st.builds(lambda rules, gone: said(*rules, retired=gone), st.lists(RULES, max_size=3), RETIRED),
    max_size=3,
)


def run(columns: Columns, switches: dict[int, Instructions], cuts: set[int], mode: str, *, restart: bool) -> Any:
    """Score with instructions taken up before some events, in parts that end at `cuts`; perhaps restarted at each."""
    config = DetectionSettings(mode=mode, window=130, max_pairs=PAIRS + 1)
    made, told, image = Engine(config, TOPIC, 3), Told(), dict[str, bytes]()
    writer = saving.StateWriter(made)
    bounds = sorted({0, *switches, *cuts, len(columns.pair)})
    for start, stop in pairwise(bounds):
        if start in switches:
            obedience.take_up(made, switches[start])
        some = part(columns, start, stop)
        rows = [made.pair_row(f"service-{number}", "model") for number in some.pair]
        made.score(some._replace(pair=np.array(rows, np.int64)))
        if start in cuts or stop == len(columns.pair):
            image |= writer.encode(told.add(made.drain()))
            image = {name: piece for name, piece in image.items() if name not in writer.outdated}
            if restart:
                made = Engine(config, TOPIC, 3)
                writer = loading.load(made, image)
    made.advance(NOON_MS + 10**9)
    told.add(made.drain())
    return told.everything()


@pytest.mark.parametrize("mode", ["classic", "calibrated"])
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), SWITCHES, st.sets(st.integers(1, 1499), max_size=6))
def test_neither_cuts_nor_restarts_change_what_comes_of_instructions(
    mode: str, seed: int, switches: dict[int, Instructions], cuts: set[int]
) -> None:
    columns = traffic(1500, PAIRS, seed)
    whole = run(columns, switches, set(), mode, restart=False)
    assert run(columns, switches, cuts, mode, restart=False) == whole
    assert run(columns, switches, cuts, mode, restart=True) == whole


def test_instructions_survive_their_way_through_bytes() -> None:
    given_ = said(Rule(service="a*", thresholds={"zscore": 4.5}), retired={Pair("a", "b"): 5, Pair("a", "a"): 6})
    again = Instructions.from_bytes(given_.to_bytes())
    assert (again, again.version) == (given_, given_.version)
    assert again.retired_since() == {Pair("a", "a"): 6, Pair("a", "b"): 5}
    assert again.version != said().version


def test_the_same_instructions_again_change_nothing() -> None:
    made = instructed(said(Rule(muted=True)))
    policies = made.tables.policies
    obedience.take_up(made, Instructions.from_bytes(made.instructions.to_bytes()))
    assert made.tables.policies is policies
