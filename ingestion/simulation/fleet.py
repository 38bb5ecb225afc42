"""Who calls which model: the services of a simulated company and what their calls look like when all is well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32


class ServedModel(NamedTuple):
    """A model as its provider sells and serves it: ms per call and token, US dollars per 1 000 tokens."""

    name: str
    provider: str
    base_ms: float
    ms_per_prompt_token: float
    ms_per_completion_token: float
    usd_per_1k_prompt: float
    usd_per_1k_completion: float


class Workload(NamedTuple):
    """What a service asks for: medians and log-normal spreads of its tokens, share of streamed calls (0 to 1)."""

    service: str
    prompt_median: float
    prompt_spread: float
    completion_median: float
    completion_spread: float
    streamed: float


MODELS = (
    ServedModel("gpt-4o", "openai", 350.0, 0.05, 14.0, 0.0025, 0.010),
    ServedModel("gpt-4o-mini", "openai", 180.0, 0.02, 9.0, 0.00015, 0.0006),
    ServedModel("claude-sonnet-4", "anthropic", 600.0, 0.10, 18.0, 0.003, 0.015),
    ServedModel("gemini-2.0-flash", "gcp.gemini", 220.0, 0.02, 6.0, 0.0001, 0.0004),
    ServedModel("llama-3.1-70b", "vllm", 150.0, 0.08, 24.0, 0.0009, 0.0009),
)
WORKLOADS = (
    Workload("chat-api", 620.0, 0.60, 210.0, 0.60, 0.9),
    Workload("code-assistant", 1800.0, 0.70, 60.0, 0.70, 1.0),
    Workload("search-summary", 2600.0, 0.35, 180.0, 0.40, 0.5),
    Workload("support-bot", 950.0, 0.50, 150.0, 0.50, 0.8),
    Workload("document-extract", 4200.0, 0.55, 260.0, 0.45, 0.0),
    Workload("translation", 380.0, 0.65, 390.0, 0.65, 0.0),
    Workload("moderation", 300.0, 0.55, 12.0, 0.30, 0.0),
    Workload("sales-copilot", 1400.0, 0.55, 240.0, 0.50, 0.7),
)


@dataclass(frozen=True, slots=True)
class Stream:
    """The calls of one service to one model; `share` is its part of the whole fleet's rate (they add up to 1)."""

    service: str
    served: ServedModel
    workload: Workload
    share: float

    @property
    def model(self) -> str:
        return self.served.name

    @property
    def key(self) -> int:
        """A number of its own for random draws, so that more services do not change what the others draw."""
        return crc32(f"{self.service}|{self.model}".encode())


def service_names(count: int, prefix: str = "") -> list[str]:
    """`count` names; beyond the known workloads they repeat with a number: chat-api-2."""
    rounds = (divmod(i, len(WORKLOADS)) for i in range(count))
    return [prefix + WORKLOADS[i].service + (f"-{lap + 1}" if lap else "") for lap, i in rounds]


def fleet(count: int, prefix: str = "") -> tuple[Stream, ...]:
    """The streams of `count` services, the busiest first: shares fall with the square root of the rank.

    Each service sends 70 % to one model and 30 % to another. ValueError unless `count` is at least 1.
    """
    if count < 1:
        raise ValueError(f"services must be at least 1, not {count}")
    weights = [(rank + 1) ** -0.5 for rank in range(count)]
    streams = []
    for rank, name in enumerate(service_names(count, prefix)):
        of_service = weights[rank] / sum(weights)
        for place, part in enumerate((0.7, 0.3)):
            served = MODELS[(rank + place) % len(MODELS)]
            streams.append(Stream(name, served, WORKLOADS[rank % len(WORKLOADS)], of_service * part))
    return tuple(streams)
