"""Users gone wild: who is told, when, and who only lives in a busy minute."""

from __future__ import annotations

import doctest
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomalies.detection import loading, obedience, saving, users
from anomalies.detection.arrays import Columns
from anomalies.detection.dimensions import DIMENSIONS, USER
from anomalies.detection.engine import Engine
from anomalies.detection.instructions import Instructions
from anomalies.detection.overrides import OverrideSet, Rule
from anomalies.detection.settings import DetectionSettings
from anomalies.detection.types import anomaly_type
from anomalies.detection.users import HEAVIEST, USERS_STATE
from anomalies.detection.verdicts import Episode
from tests.support.telemetry import NOON_MS, TOPIC, batch, part

CALIBRATED = DetectionSettings(mode="calibrated")
MINUTE = 60_000
ABUSER = 999
SHARES = 1 / (np.arange(200) + 3.0)
SHARES /= SHARES.sum()


def minutes(count: int, calls: float, seed: int = 1, shares: NDArray[np.float64] = SHARES) -> tuple[Any, Any]:
    """Times (ms) and users of so many minutes, of a Poisson number of calls each, users by their shares."""
    random = np.random.default_rng(seed)
    of_minute = random.poisson(calls, count)
    starts = np.repeat(MINUTE * np.arange(count), of_minute)
    at = np.sort(starts + random.integers(0, MINUTE, len(starts)))
    return at, 1 + random.choice(len(shares), len(at), p=shares)


def scores(at: NDArray[np.int64], codes: NDArray[np.int64], record: np.void | None = None) -> NDArray[np.float64]:
    record = np.zeros(1, USERS_STATE)[0] if record is None else record
    return np.array([users.count(record, int(ms), int(code), False) for ms, code in zip(at, codes, strict=True)])


def traffic(extra: float = 0.0, surge: float = 1.0, seed: int = 1) -> Columns:
    """Two hours of 75 calls a minute; from minute 90 on for ten, one user adds `extra` a minute, or all send more."""
    at, who = minutes(120, 75.0, seed)
    more, others = minutes(10, 75.0 * (surge - 1.0), seed + 1)
    added, _ = minutes(10, extra, seed + 2)
    at = np.concatenate([at, more + 90 * MINUTE, added + 90 * MINUTE])
    who = np.concatenate([who, others, np.full(len(added), ABUSER)])
    order = np.argsort(at, kind="stable")
    dimensions = np.zeros((len(at), len(DIMENSIONS)), np.uint32)
    dimensions[:, USER] = who[order]
    return batch(len(at), event_ms=NOON_MS + at[order], latency_ms=100.0, dimensions=dimensions)


def engine() -> Engine:
    made = Engine(CALIBRATED, TOPIC, 3)
    made.pair_row("chat-api", "gpt-4")
    return made


def found(columns: Columns, made: Engine | None = None) -> list[Episode]:
    made = made or engine()
    made.pair_row("chat-api", "gpt-4")
    made.score(columns)
    return [each for each in made.drain().episodes if each.key.metric == "user_request_rate"]


def test_a_user_who_adds_sixty_percent_is_told_within_the_first_minute() -> None:
    columns = traffic(extra=45.0)
    (told,) = found(columns)
    assert anomaly_type(told.key.metric, told.direction) == "usage_pattern"
    assert (told.severity, told.state) == ("warning", "ended")
    assert 0 <= told.first_seen_ms - NOON_MS - 90 * MINUTE < MINUTE
    assert told.last_seen_ms < NOON_MS + 100 * MINUTE
    assert 25 <= told.value <= 70
    assert told.median == pytest.approx(9, abs=4)


def test_only_calls_of_that_user_are_flagged() -> None:
    columns, made = traffic(extra=45.0), engine()
    flagged = [each for each in made.score(columns) if each.key.metric == "user_request_rate"]
    assert len(flagged) > 100
    assert {int(columns.dimensions[each.event, USER]) for each in flagged} == {ABUSER}


def test_who_sends_as_much_as_all_others_together_is_critical() -> None:
    assert [each.severity for each in found(traffic(extra=150.0))] == ["critical"]


@pytest.mark.parametrize(("least", "severity"), [(2.0, "critical"), (60.0, "info")])
def test_what_is_less_above_the_usual_than_operators_ask_for_stays_info(least: float, severity: str) -> None:
    made = engine()
    obedience.take_up(made, Instructions(OverrideSet.of([Rule(metric="user_*", min_deviation=least)], {})))
    assert [each.severity for each in found(traffic(extra=150.0), made)] == [severity]
    configured = Engine(replace(CALIBRATED, min_deviation={"user_request_rate": least}), TOPIC, 3)
    (told,) = found(traffic(extra=150.0), configured)
    assert told.severity == severity


def test_a_deviation_is_taken_from_the_heaviest_user_as_usual() -> None:
    record = np.zeros(1, USERS_STATE)[0]
    record["learned"], record["center"], record["total"] = 100, 2.0 * np.sqrt(10.0), 25
    record["counts"][0] = 25
    assert users.deviation_of(record) == pytest.approx(1.5)


@pytest.mark.parametrize("surge", [2.0, 6.0])
def test_a_general_surge_is_nobodys_doing(surge: float) -> None:
    assert found(traffic(surge=surge)) == []


def test_calls_without_a_user_accuse_nobody() -> None:
    columns = traffic(extra=45.0)
    columns.dimensions[:, USER] = 0
    assert found(columns) == []


@pytest.mark.parametrize("calls", [2.0, 20.0, 300.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_ordinary_users_are_never_told(calls: float, seed: int) -> None:
    assert scores(*minutes(1500, calls, seed)).max() < 1.0


def test_a_service_with_one_user_is_not_abused_by_it() -> None:
    assert scores(*minutes(1500, 40.0, shares=np.ones(1))).max() < 1.0


def test_nothing_is_said_in_the_first_half_hour() -> None:
    at, who = minutes(29, 75.0)
    loud = scores(np.append(at, 29 * MINUTE + np.arange(500)), np.append(who, np.full(500, ABUSER)))
    assert loud.max() == 0.0


def test_a_level_that_lasts_two_hours_is_adopted() -> None:
    at, who = minutes(400, 75.0)
    extra, _ = minutes(300, 60.0, seed=9)
    at, who = np.append(at, extra + 100 * MINUTE), np.append(who, np.full(len(extra), ABUSER))
    order = np.argsort(at, kind="stable")
    dimensions = np.zeros((len(at), len(DIMENSIONS)), np.uint32)
    dimensions[:, USER] = who[order]
    (told,) = found(batch(len(at), event_ms=NOON_MS + at[order], latency_ms=100.0, dimensions=dimensions))
    assert told.state != "active"
    assert 100 * MINUTE < told.last_seen_ms - told.first_seen_ms < 250 * MINUTE


@given(st.lists(st.integers(1, 60), min_size=1, max_size=400))
def test_a_count_is_never_more_than_the_user_sent(codes: list[int]) -> None:
    record = np.zeros(1, USERS_STATE)[0]
    sent: Counter[int] = Counter()
    for code in codes:
        users.count(record, NOON_MS, code, False)
        sent[code] += 1
        kept = record["counts"].astype(int) - record["errors"]
        assert users.calls_of(record) <= sent[code] <= record["counts"][record["place"]]
        assert all(kept[place] <= sent[int(record["codes"][place])] for place in np.flatnonzero(record["codes"]))
    assert record["total"] == len(codes)
    if len(sent) <= HEAVIEST:
        assert not record["errors"].any()


ABUSED = traffic(extra=45.0)
WHOLE = {each.id: each for each in found(ABUSED)}


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, len(ABUSED.pair) - 1), max_size=6, unique=True))
def test_neither_cuts_nor_restarts_change_who_is_told(cuts: list[int]) -> None:
    made, image, told = engine(), dict[str, bytes](), dict[Any, Episode]()
    writer = saving.StateWriter(made)
    for first, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(ABUSED.pair)], strict=True):
        made.score(part(ABUSED, first, end))
        changes = made.drain()
        told |= {each.id: each for each in changes.episodes if each.key.metric == "user_request_rate"}
        image |= writer.encode(changes.touched_pairs)
        made = Engine(CALIBRATED, TOPIC, 3)
        writer = loading.load(made, image)
    assert told == WHOLE


def test_the_examples_of_the_documentation_run() -> None:
    assert doctest.testmod(users).failed == 0
