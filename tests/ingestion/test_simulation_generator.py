"""What simulated traffic looks like when all is well."""

from collections import Counter
from functools import cache
from itertools import chain, pairwise

import numpy as np
import pytest

from ingestion.formats.event import Event
from ingestion.simulation import calls, load
from ingestion.simulation.fleet import Stream, fleet
from ingestion.simulation.generator import Traffic
from ingestion.simulation.scenarios import SECOND_NS

NOON = 1_767_960_000 * SECOND_NS  # 2026-01-09 12:00 UTC
HOUR = 3600 * SECOND_NS


@cache
def six_hours() -> tuple[Event, ...]:
    return tuple(events(Traffic(fleet(3), 10, seed=7), NOON, NOON + 6 * HOUR))


def events(traffic: Traffic, start_ns: int, end_ns: int) -> list[Event]:
    return list(chain.from_iterable(traffic.batches(start_ns, end_ns)))


def of_stream(stream: Stream) -> list[Event]:
    return [e for e in six_hours() if (e.service, e.model) == (stream.service, stream.model) and not e.error]


def test_the_same_seed_makes_the_same_events():
    one = events(Traffic(fleet(2), 20, seed=5), NOON, NOON + 60 * SECOND_NS)
    other = events(Traffic(fleet(2), 20, seed=5), NOON, NOON + 60 * SECOND_NS)
    assert one == other
    assert len(one) > 600


def test_another_seed_makes_other_events():
    one, other = (events(Traffic(fleet(2), 20, seed=seed), NOON, NOON + 60 * SECOND_NS) for seed in (5, 6))
    assert not {e.event_id for e in one} & {e.event_id for e in other}


@pytest.mark.parametrize("cuts", [[13], [10, 20, 30], [0.5, 7.25, 59.999]])
def test_events_do_not_depend_on_where_the_time_is_cut(cuts):
    traffic = Traffic(fleet(2), 20, seed=5)
    edges = [NOON, *(NOON + int(cut * SECOND_NS) for cut in cuts), NOON + 60 * SECOND_NS]
    pieces = [events(traffic, begin, end) for begin, end in pairwise(edges)]
    assert list(chain.from_iterable(pieces)) == events(traffic, edges[0], edges[-1])


def test_a_service_can_begin_later_than_the_others():
    traffic = Traffic(fleet(2), 20, seed=5)
    late = NOON + 33 * SECOND_NS
    got = list(chain.from_iterable(traffic.batches(NOON, NOON + 60 * SECOND_NS, {"chat-api": late})))
    everything = events(traffic, NOON, NOON + 60 * SECOND_NS)
    assert got == [e for e in everything if e.service != "chat-api" or e.timestamp_ns >= late]


def test_event_ids_are_unique_and_times_ascend_within_the_interval():
    ids = [e.event_id for e in six_hours()]
    times = [e.timestamp_ns for e in six_hours()]
    assert len(set(ids)) == len(ids)
    assert times == sorted(times)
    assert times[0] >= NOON
    assert times[-1] < NOON + 6 * HOUR


def test_the_rate_over_a_whole_day_is_the_one_asked_for():
    stream, first = fleet(1)[0], NOON // (10 * SECOND_NS)
    slots = range(first, first + 8640)
    total = sum(len(c.at_ns) for slot in slots for c in calls.calls_in_slot(3, stream, slot, 1.0, ()))
    assert total == pytest.approx(86_400, rel=0.02)


def test_afternoons_are_busier_than_nights():
    traffic = Traffic(fleet(1), 5.0, seed=3)
    afternoon = len(events(traffic, NOON + 1 * HOUR, NOON + 3 * HOUR))
    night = len(events(traffic, NOON + 13 * HOUR, NOON + 15 * HOUR))
    assert afternoon / night == pytest.approx(1.3 / 0.7, rel=0.08)


def test_arrivals_within_a_slot_are_poisson():
    stream = fleet(1)[0]
    counts = [sum(len(c.at_ns) for c in calls.calls_in_slot(4, stream, 1000 + slot, 2.0, ())) for slot in range(3000)]
    means = [20.0 * load.rate_factor(4, stream.key, 1000 + slot) for slot in range(3000)]
    scaled = (np.array(counts) - means) / np.sqrt(means)
    assert scaled.mean() == pytest.approx(0.0, abs=0.07)
    assert scaled.std() == pytest.approx(1.0, rel=0.05)


def test_shares_of_streams_are_kept():
    streams = fleet(3)
    counts = Counter((e.service, e.model) for e in six_hours())
    assert sum(stream.share for stream in streams) == pytest.approx(1.0)
    for stream in streams:
        share = counts[stream.service, stream.model] / len(six_hours())
        assert share == pytest.approx(stream.share, rel=0.08)


@pytest.mark.parametrize("stream", fleet(3), ids=lambda s: f"{s.service}|{s.model}")
def test_tokens_are_log_normal_about_the_medians_of_the_workload(stream):
    prompt = np.log([e.prompt_tokens for e in of_stream(stream)])
    completion = np.log([e.completion_tokens for e in of_stream(stream)])
    assert np.median(prompt) == pytest.approx(np.log(stream.workload.prompt_median), abs=0.03)
    assert prompt.std() == pytest.approx(stream.workload.prompt_spread, rel=0.05)
    assert np.median(completion) == pytest.approx(np.log(stream.workload.completion_median), abs=0.04)


@pytest.mark.parametrize("stream", fleet(3), ids=lambda s: f"{s.service}|{s.model}")
def test_latency_follows_the_tokens_with_log_normal_noise(stream):
    served, own = stream.served, of_stream(stream)
    median = [
        served.base_ms
        + served.ms_per_prompt_token * e.prompt_tokens
        + served.ms_per_completion_token * e.completion_tokens
        for e in own
    ]
    residual = np.log([e.latency_ms for e in own]) - np.log(median)
    assert np.median(residual) == pytest.approx(load.LATENCY_SWING, abs=0.06)  # the afternoon is slower
    q25, q75 = np.percentile(residual, [25, 75])
    assert (q75 - q25) / 1.349 == pytest.approx(0.305, rel=0.06)
    assert np.mean(residual > 4.5 * 0.3) == pytest.approx(0.001, abs=0.0012)  # the heavy tail


def test_cost_is_the_price_of_the_tokens():
    stream = fleet(3)[0]
    for event in of_stream(stream)[:500]:
        usd = (
            event.prompt_tokens * stream.served.usd_per_1k_prompt
            + event.completion_tokens * stream.served.usd_per_1k_completion
        )
        assert event.cost_usd == pytest.approx(usd / 1000, abs=1e-9)
        assert event.total_tokens == event.prompt_tokens + event.completion_tokens


def test_five_in_a_thousand_fail_and_have_neither_tokens_nor_cost():
    failed = [e for e in six_hours() if e.error]
    assert len(failed) / len(six_hours()) == pytest.approx(0.005, abs=0.0006)
    assert {e.errors[0] for e in failed} == set(calls.FAILURES)
    assert all(e.total_tokens is None and e.cost_usd is None and e.cost_source == "unpriced" for e in failed)
    assert all(e.latency_ms > 0 for e in failed)


def test_users_follow_zipf():
    users = Counter(e.user_id for e in six_hours())
    ranked = [count for _, count in users.most_common()]
    assert len(ranked) == calls.USERS
    assert ranked[0] / len(six_hours()) == pytest.approx(0.076, rel=0.1)
    assert ranked[0] / ranked[9] == pytest.approx(12 / 3, rel=0.15)


def test_regions_versions_and_quality_have_their_shares():
    regions = Counter(e.metadata["region"] for e in six_hours())
    versions = Counter(e.metadata["prompt_version"] for e in six_hours())
    scores = [e.quality_score for e in six_hours() if e.quality_score is not None]
    n = len(six_hours())
    assert regions["us-east-1"] / n == pytest.approx(0.55, abs=0.01)
    assert versions["v13"] / n == pytest.approx(0.2, abs=0.01)
    assert len(scores) / n == pytest.approx(0.3, abs=0.01)
    assert np.mean(scores) == pytest.approx(0.85, abs=0.005)


def test_only_streamed_calls_know_their_first_token_and_it_comes_before_the_last():
    chat = [e for e in six_hours() if e.service == "chat-api" and not e.error]
    streamed = [e for e in chat if e.ttft_ms is not None]
    assert len(streamed) / len(chat) == pytest.approx(0.9, abs=0.01)
    assert all(e.ttft_ms <= e.latency_ms for e in streamed)


def test_a_session_is_one_user_within_half_an_hour():
    by_session: dict[str, set[tuple[str, str]]] = {}
    for event in six_hours():
        by_session.setdefault(event.session_id, set()).add((event.service, event.user_id))
    assert all(len(owners) == 1 for owners in by_session.values())


def test_the_slow_wander_has_the_spread_and_memory_it_claims():
    series = np.array([load.wander(1, 99, slot) for slot in range(200_000, 230_000)])
    assert series.std() == pytest.approx(load.WANDER_SD, rel=0.08)
    assert np.corrcoef(series[:-1], series[1:])[0, 1] == pytest.approx(load.PERSISTENCE, abs=0.01)


def test_more_services_change_nothing_of_the_others_but_their_share():
    few, many = fleet(2), fleet(4)
    assert [s.key for s in few] == [s.key for s in many[:4]]
    assert many[0].share < few[0].share


def test_more_services_than_workloads_get_numbered_names():
    names = {stream.service for stream in fleet(11, "demo-")}
    assert len(names) == 11
    assert "demo-chat-api-2" in names


@pytest.mark.parametrize(("rate", "seed"), [(0, 0), (-1, 0), (float("inf"), 0), (float("nan"), 0), (1, -1)])
def test_impossible_rates_and_seeds_are_refused(rate, seed):
    with pytest.raises(ValueError, match="must"):
        Traffic(fleet(1), rate, seed)


def test_a_fleet_needs_a_service():
    with pytest.raises(ValueError, match="at least 1"):
        fleet(0)
