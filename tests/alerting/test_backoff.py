"""When a delivery is tried again."""

import random

from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.backoff import RetryPolicy, fast_bound, next_delay, slow_bound

DAY = 86_400.0
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 20),
    initial_delay=st.floats(0.001, 60),
    multiplier=st.floats(1, 10),
    max_delay=st.floats(0.001, 600),
    slow_initial=st.floats(1, 600),
    slow_max=st.floats(1, 3600),
    give_up_after=st.floats(1, 1e6),
)


def test_the_fast_delays_double_up_to_their_ceiling() -> None:
    assert [fast_bound(RetryPolicy(), n) for n in (1, 2, 3, 4, 5, 6, 2000)] == [1, 2, 4, 8, 16, 30, 30]


def test_the_slow_rounds_begin_after_the_fast_attempts_and_grow_to_five_minutes() -> None:
    assert [slow_bound(RetryPolicy(), n) for n in (3, 4, 5, 6, 7, 5000)] == [60, 120, 240, 300, 300, 300]


def test_full_jitter_uses_the_whole_range_below_the_bound() -> None:
    delays = [next_delay(RetryPolicy(), 2, 0.0, None, random.Random(seed)) for seed in range(400)]
    assert min(d for d in delays if d is not None) < 0.1
    assert 1.9 < max(d for d in delays if d is not None) <= 2.0


def test_a_slow_round_never_comes_early() -> None:
    delays = [next_delay(RetryPolicy(), 3, 0.0, None, random.Random(seed)) for seed in range(400)]
    assert all(d is not None and 30.0 <= d <= 60.0 for d in delays)


@given(policies, st.integers(1, 5000), st.floats(0, 2e6), st.none() | st.floats(0, 1e12), st.integers())
def test_a_delay_is_within_its_bounds_and_ends_at_give_up_after(
    policy: RetryPolicy, attempts: int, age: float, retry_after: float | None, seed: int
) -> None:
    delay = next_delay(policy, attempts, age, retry_after, random.Random(seed))
    if age >= policy.give_up_after:
        assert delay is None
        return
    assert delay is not None
    assert 0.0 <= delay <= policy.give_up_after - age
    bound = (fast_bound if attempts < policy.max_attempts else slow_bound)(policy, attempts)
    assert delay <= max(bound, min(retry_after or 0.0, policy.max_retry_after))


def test_a_receiver_is_not_asked_before_the_time_it_named() -> None:
    assert next_delay(RetryPolicy(), 1, 0.0, 120.0) == 120.0


def test_a_receiver_cannot_silence_a_channel_for_longer_than_an_hour() -> None:
    assert next_delay(RetryPolicy(), 1, 0.0, 1e12) == 3600.0


def test_the_last_attempt_falls_on_the_moment_of_giving_up_and_none_comes_after() -> None:
    assert next_delay(RetryPolicy(), 200, DAY - 10) == 10.0
    assert next_delay(RetryPolicy(), 201, DAY) is None
