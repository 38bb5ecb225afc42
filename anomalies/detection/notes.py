"""Notes: what is known of an open episode beside its record in the tables of the kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

import numpy as np

from anomalies.detection.dimensions import DIMENSIONS, FINISH, Sample
from anomalies.detection.excess import Excess, Tally, over_represented
from baselines.stats.series import ERROR_RATE


@dataclass
class Note:
    """Its id, the usual traffic when it opened (a BACKGROUND record), and some of its deviating events."""

    MOST_TRACES: ClassVar[int] = 5

    id: UUID
    background: np.void
    trace_ids: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def add(self, sample: Sample) -> None:
        """Note a deviating event."""
        self.tally.add(sample.values)
        if sample.trace_id and len(self.trace_ids) < self.MOST_TRACES:
            self.trace_ids.append(sample.trace_id)

    def dimensions(self, metric: int) -> tuple[Excess, ...]:
        """What the deviating events have in common, for an episode of this metric."""
        found = over_represented(self.tally, self.background)
        # That failed calls finish as failed calls do says nothing.
        return tuple(one for one in found if metric != ERROR_RATE or one.dimension != _FINISH)


_FINISH = DIMENSIONS[FINISH]
