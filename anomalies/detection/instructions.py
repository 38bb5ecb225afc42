"""What operators tell the pipeline: overrides, and which pairs are retired; one document, in force from some offset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from anomalies.detection.overrides import OverrideSet
from baselines.stats.series import Pair


class Instructions(msgspec.Struct, frozen=True):
    """All that operators said, as of one moment. `retired`: service, model and since when (ms), in order."""

    overrides: OverrideSet = OverrideSet()
    retired: tuple[tuple[str, str, int], ...] = ()

    @classmethod
    def of(cls, overrides: OverrideSet, retired: Mapping[Pair, int]) -> Instructions:
        """From the overrides and the retired pairs with the time (ms) since when they are."""
        return cls(overrides, tuple(sorted((*pair, since) for pair, since in retired.items())))

    def retired_since(self) -> dict[Pair, int]:
        """The retired pairs, and since when (ms of event time)."""
        return {Pair(service, model): since for service, model, since in self.retired}

    @property
    def version(self) -> str:
        """The same text for the same content, on every machine and in every process."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """As JSON, to be kept in a state."""
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def from_bytes(cls, data: bytes) -> Instructions:
        """What `to_bytes` gave. Raises msgspec.DecodeError for anything else."""
        return msgspec.json.decode(data, type=cls)


NO_INSTRUCTIONS = Instructions()
