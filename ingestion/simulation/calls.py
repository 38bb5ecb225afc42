"""The calls of one stream in one slot of time, as columns: who calls when, how much, how long, how dear, how well.

A call takes base + prompt tokens * ms + completion tokens * ms, times the load, times log-normal noise; five in a
thousand take 1.5 to 12 times as long (retries, cold starts: a Pareto tail of exponent 2.5). Prompt and completion
tokens are log-normal, users follow Zipf's law, five calls in a thousand fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingestion.simulation import load
from ingestion.simulation.fleet import Stream
from ingestion.simulation.scenarios import SECOND_NS, Incident

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NOISE_SD = 0.30  # log latency
TAIL_SHARE, TAIL_EXPONENT, TAIL_LEAST, TAIL_MOST = 0.005, 2.5, 1.5, 12.0
ERROR_SHARE = 0.005
SCORED_SHARE = 0.3
QUALITY_ALPHA, QUALITY_BETA = 17.0, 3.0  # mean 0.85, standard deviation 0.078
MOST_PROMPT_TOKENS, MOST_COMPLETION_TOKENS = 32_000, 4_096
TIMEOUT_MS = 180_000.0
USERS = 200
ABUSER = 120  # someone who hardly ever calls
REGIONS, REGION_SHARES = ("us-east-1", "eu-west-1", "ap-southeast-1"), (0.55, 0.30, 0.15)
PROMPT_VERSIONS, VERSION_SHARES = ("v12", "v13"), (0.8, 0.2)
FAILURES, FAILURE_SHARES = ("rate_limit_exceeded", "server_error", "timeout"), (0.5, 0.3, 0.2)
FAILED_AFTER = np.array([0.3, 1.0, 0.0])  # of the time to the first token; a time-out takes TIMEOUT_MS

_SLOT_NS = load.SLOT_SECONDS * SECOND_NS
_MS_NS = 1_000_000
_UNIFORMS = ("user", "error", "failure", "tail", "streamed", "scored", "region", "version", "dropped")
_NORMALS = ("prompt", "completion", "latency", "first_token")
_USUAL_DRAWS, _ABUSE_DRAWS = 2, 3

_USER_STEPS = np.cumsum(1 / (np.arange(USERS) + 3.0))
_USER_STEPS /= _USER_STEPS[-1]


@dataclass(slots=True)
class Calls:
    """Columns of n calls in order of time. NaN is "not known"; `failure` and the like index this module's names."""

    at_ns: NDArray[np.int64]
    user: NDArray[np.int64]
    prompt_tokens: NDArray[np.int64]
    completion_tokens: NDArray[np.int64]
    latency_ms: Floats
    ttft_ms: Floats
    cost_usd: Floats
    quality: Floats
    failed: Bools
    failure: NDArray[np.int64]
    region: NDArray[np.int64]
    version: NDArray[np.int64]
    ids: str
    """80 hexadecimal digits a call: 32 of the event id, 32 of the trace id, 16 of the span id."""


class Draws:
    """All the chance in n calls, drawn in one fixed order, so that an incident changes nothing but what it is about."""

    def __init__(self, seed: int, stream: Stream, slot: int, kind: int, mean_calls: float) -> None:
        random = np.random.default_rng([seed, stream.key, slot, kind])
        self.n = n = int(random.poisson(mean_calls))
        offset_ms = np.sort(random.integers(0, load.SLOT_SECONDS * 1000, n))
        self.at_ns = slot * _SLOT_NS + offset_ms * _MS_NS
        self.uniform = dict(zip(_UNIFORMS, random.random((len(_UNIFORMS), n)), strict=True))
        self.normal = dict(zip(_NORMALS, random.standard_normal((len(_NORMALS), n)), strict=True))
        self.pareto = random.pareto(TAIL_EXPONENT, n)
        self.quality = random.beta(QUALITY_ALPHA, QUALITY_BETA, n)
        self.ids = random.bytes(40 * n).hex()


def calls_in_slot(
    seed: int, stream: Stream, slot: int, calls_per_second: float, incidents: Sequence[Incident]
) -> list[Calls]:
    """What `stream` sends in `slot` (seconds since 1970 over SLOT_SECONDS) at a mean of `calls_per_second`.

    One set of calls, and a second one where a user is out of hand. Equal arguments give equal calls.
    """
    mean = calls_per_second * load.SLOT_SECONDS * load.rate_factor(seed, stream.key, slot)
    usual = Draws(seed, stream, slot, _USUAL_DRAWS, mean)
    users = np.searchsorted(_USER_STEPS, usual.uniform["user"], side="right")
    sets = [_calls(stream, usual, users, load.latency_factor(seed, stream.key, slot), incidents)]
    if abuse := max((i.scenario.abuse for i in incidents), default=0.0):
        draws = Draws(seed, stream, slot, _ABUSE_DRAWS, mean * abuse)
        abusers = np.full(draws.n, ABUSER)
        calls = _calls(stream, draws, abusers, load.latency_factor(seed, stream.key, slot), incidents)
        sets.append(kept(calls, _factor("abuse", incidents, calls.at_ns, usually=0.0) > 0))
    return sets


def _calls(stream: Stream, draws: Draws, users: NDArray[np.int64], busy: float, incidents: Sequence[Incident]) -> Calls:
    at_ns, served, workload = draws.at_ns, stream.served, stream.workload
    prompt = _tokens(workload.prompt_median, workload.prompt_spread, draws.normal["prompt"], MOST_PROMPT_TOKENS)
    longer = _factor("completion_tokens", incidents, at_ns)
    completion = _tokens(
        workload.completion_median * longer,
        workload.completion_spread,
        draws.normal["completion"],
        MOST_COMPLETION_TOKENS,
    )
    slower = busy * _factor("latency", incidents, at_ns) * _tail(draws)
    to_first = served.base_ms + served.ms_per_prompt_token * prompt
    generating = served.ms_per_completion_token * completion
    latency = (to_first + generating) * slower * np.exp(NOISE_SD * draws.normal["latency"])
    ttft = to_first * slower * np.exp(NOISE_SD * draws.normal["first_token"])
    usd_per_1k = prompt * served.usd_per_1k_prompt + completion * served.usd_per_1k_completion
    failed, failure = _failures(draws, incidents, latency)
    aborted = np.where(failure == FAILURES.index("timeout"), TIMEOUT_MS, ttft * FAILED_AFTER[failure])
    calls = Calls(
        at_ns=at_ns,
        user=users,
        prompt_tokens=prompt,
        completion_tokens=completion,
        latency_ms=np.where(failed, aborted, latency),
        ttft_ms=np.where(draws.uniform["streamed"] < workload.streamed, np.minimum(ttft, latency), np.nan),
        cost_usd=usd_per_1k / 1000 * _factor("cost", incidents, at_ns),
        quality=_quality(draws, incidents),
        failed=failed,
        failure=failure,
        region=_choice(draws.uniform["region"], REGION_SHARES),
        version=_choice(draws.uniform["version"], VERSION_SHARES),
        ids=draws.ids,
    )
    remaining = _factor("rate", incidents, at_ns)
    return kept(calls, draws.uniform["dropped"] < remaining) if (remaining < 1).any() else calls


def _factor(effect: str, incidents: Iterable[Incident], at_ns: NDArray[np.int64], usually: float = 1.0) -> Floats:
    """By call, the scenario's value of `effect` where an incident lasts, else `usually`."""
    factors = np.full(len(at_ns), usually)
    for incident in incidents:
        value = getattr(incident.scenario, effect)
        if value is not None and value != usually:
            factors[(at_ns >= incident.start_ns) & (at_ns < incident.end_ns)] = value
    return factors


def _tokens(median: float | Floats, spread: float, normal: Floats, most: int) -> NDArray[np.int64]:
    return np.clip(np.rint(median * np.exp(spread * normal)), 1, most).astype(np.int64)


def _tail(draws: Draws) -> Floats:
    stretched = np.minimum(draws.pareto + TAIL_LEAST, TAIL_MOST)
    return np.where(draws.uniform["tail"] < TAIL_SHARE, stretched, 1.0)


def _quality(draws: Draws, incidents: Iterable[Incident]) -> Floats:
    scored = draws.uniform["scored"] < SCORED_SHARE
    return np.where(scored, draws.quality * _factor("quality", incidents, draws.at_ns), np.nan)


def _failures(draws: Draws, incidents: Iterable[Incident], latency: Floats) -> tuple[Bools, NDArray[np.int64]]:
    too_long = latency > TIMEOUT_MS
    failed = draws.uniform["error"] < _factor("error_rate", incidents, draws.at_ns, usually=ERROR_SHARE)
    failure = _choice(draws.uniform["failure"], FAILURE_SHARES)
    return failed | too_long, np.where(too_long, FAILURES.index("timeout"), failure)


def _choice(uniform: Floats, shares: Sequence[float]) -> NDArray[np.int64]:
    return np.searchsorted(np.cumsum(shares)[:-1], uniform, side="right")


def kept(calls: Calls, mask: Bools) -> Calls:
    """The calls where `mask` is true."""
    columns = {name: getattr(calls, name)[mask] for name in Calls.__slots__ if name != "ids"}
    ids = "".join(calls.ids[80 * i : 80 * i + 80] for i in np.flatnonzero(mask))
    return Calls(ids=ids, **columns)
