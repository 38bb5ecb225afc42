"""What carries messages away: the contract that every transport keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

# Waits some seconds, or less when the outbox closes; true once delivery has to be given up.
Pause = Callable[[float], bool]


class Message(NamedTuple):
    """An encoded event and its Kafka key (`service|model`, UTF-8)."""

    key: bytes
    value: bytes


@dataclass(frozen=True)
class Delivery:
    """What became of a batch, in events.

    `rejected` were refused for what they are, `lost` could not be handed over; the rest was acknowledged.
    """

    rejected: int = 0
    lost: int = 0
    reason: str = ""


class Transport(Protocol):
    """Used by one thread, except for `after_fork`, which runs in the child before any of its threads."""

    @property
    def batch_events(self) -> int:
        """The most events in a batch."""

    @property
    def batch_bytes(self) -> int:
        """A batch is full once its values have this many bytes."""

    @property
    def linger_seconds(self) -> float:
        """How long the first event of a batch waits for company."""

    def deliver(self, batch: Sequence[Message], pause: Pause) -> Delivery:
        """Hand a batch over, with retries, and wait for the acknowledgement; gives up when `pause` says so."""

    def after_fork(self) -> None:
        """Make connections of the child's own; those of the parent must not be touched."""

    def close(self) -> None:
        """Let go of connections; nothing is delivered afterwards."""
