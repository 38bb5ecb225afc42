"""What to look at first, by the type of what happened: proposals for people who were just woken."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """What is most often behind it, and what to do about it, the first thing first."""

    cause: str
    steps: tuple[str, ...]


_LATENCY = Step(
    "A slow provider, longer prompts or answers, or retries that queue up.",
    (
        "Look at the provider's status page, and whether other services of the same model are slow too.",
        "Compare tokens per call: answers that got longer take longer.",
        "Open a sample trace and see which part of the call takes the time.",
        "If it lasts, send the traffic to the fallback model or region.",
    ),
)
_TOKENS = Step(
    "A changed prompt, runaway context (history or retrieved documents), or answers without a limit.",
    (
        "See whether a prompt version is over-represented, and roll it back.",
        "Check what is put into the context: history that is never cut grows with each turn.",
        "Set a limit on the tokens of an answer.",
    ),
)
_COST = Step(
    "A dearer model or a new price, more tokens per call, or prompt caching that stopped working.",
    (
        "Compare tokens per call and the share of cached tokens with what is usual.",
        "See whether one user, region or prompt version is over-represented.",
        "Make sure that no deploy changed the model that is called.",
    ),
)
_DRIFT = Step(
    "What users send, or what the model answers, is no longer what it was.",
    (
        "Ask what changed at the time it began: a release, a campaign, a new customer, a new version of the model.",
        "Read some sample traces from before and after.",
        "Run the evaluation set again before you adopt it as the new normal.",
    ),
)
_BETTER = Step(
    "A change for the better, or calls that no longer do what they did.",
    (
        "Make sure that answers are still complete: short and fast may also mean cut off or empty.",
        "If it is meant to be so, resolve this; the new level is learned by itself.",
    ),
)
_QUIET = Step(
    "A sender that stopped, a deploy that failed, or telemetry that no longer arrives.",
    (
        "See whether the application itself is up and has users.",
        "Look for its events among the dead letters.",
        "If the service was switched off for good, retire it, and nobody waits for it any more.",
    ),
)

STEPS: dict[str, Step] = {
    "latency_spike": _LATENCY,
    "latency_drop": _BETTER,
    "token_usage_spike": _TOKENS,
    "token_usage_drop": _BETTER,
    "cost_anomaly": _COST,
    "cost_drop": _BETTER,
    "traffic_surge": Step(
        "A campaign, a client that retries in a loop, or one user who calls far more than others.",
        (
            "See whether one user or region is over-represented.",
            "Look at the error rate: retries after failures look like a surge.",
            "Check the provider's rate limits before they do.",
        ),
    ),
    "throughput_degradation": _QUIET,
    "silence": _QUIET,
    "error_rate_increase": Step(
        "A provider's outage, exhausted rate limits or quota, an expired key, or requests that became invalid.",
        (
            "Open a sample trace and read the error.",
            "Look at the provider's status page and at your quota.",
            "If it began after a deploy, roll that back.",
            "Send the traffic to the fallback model or region while it lasts.",
        ),
    ),
    "error_rate_decrease": _BETTER,
    "quality_improvement": _BETTER,
    "quality_degradation": Step(
        "A changed prompt or model version, poorer retrieval, or inputs that the prompt was not made for.",
        (
            "See whether a prompt version is over-represented, and roll it back.",
            "Read some of the worst answers beside their inputs.",
            "Check that retrieval still finds what it should.",
        ),
    ),
    "usage_pattern": Step(
        "A user, or a stolen key, that calls far more than anybody usually does.",
        (
            "Find out who it is: the user is named among what stands out.",
            "If it is abuse, limit or block the user, and replace the key.",
            "If it is a customer who grew, tell the people who look after cost.",
        ),
    ),
    "input_drift": _DRIFT,
    "output_drift": _DRIFT,
    "concept_drift": _DRIFT,
    "embedding_drift": _DRIFT,
}
OTHERWISE = Step(
    "Something left the limits that people or the past have set.",
    (
        "Compare what is shown here with the time before it began.",
        "Open a sample trace.",
        "Ask who changed something shortly before.",
    ),
)


def step_of(type_: str) -> Step:
    return STEPS.get(type_, OTHERWISE)
