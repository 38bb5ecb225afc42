"""The engine's state as named pieces of bytes: what is flushed and persisted (`saving`), and loaded (`loading`).

Beside the baselines (baselines.stats.codec) there is one piece per pair:

    p:<row>              the pair's record, the sums of CUSUM, its open episodes and open minutes (msgpack)
    c:<row>              its channels and watches, in calibrated mode: the records of those tables, one after another
    e:<row>              its embeddings, in calibrated mode and if it has any: Embedded

and of the partition:

    o                    what operators said that is in force: anomalies.detection.instructions (JSON)
    clock                how far its record time has passed, in calibrated mode
    n:...                the novelty of its busiest pairs, in calibrated mode: anomalies.detection.novel_state
"""

from __future__ import annotations

from typing import Any

import msgspec

from anomalies.detection import novel_state
from anomalies.detection.absence import CLOCK
from anomalies.detection.arrays import EPISODE, MINUTE, MINUTE_WINDOW, PAIR
from anomalies.detection.cusum import CUSUM_STATE
from anomalies.detection.dimensions import BACKGROUND
from anomalies.detection.embeddings import EMBEDDING_STATE
from anomalies.detection.engine import Engine
from anomalies.detection.excess import Tally
from anomalies.detection.settings import DETECTORS
from baselines.stats import codec
from baselines.stats.series import EVENT_METRICS, MINUTE_METRICS

RECORDS = {"pair": PAIR, "cusum": CUSUM_STATE, "episode": EPISODE, "minute": MINUTE, "clock": CLOCK}
FIRST_AGGREGATE = len(EVENT_METRICS)
WINDOWED = len(EVENT_METRICS + MINUTE_METRICS)
CLOCK_PIECE = "clock"
INSTRUCTIONS = "o"


class EpisodePiece(msgspec.Struct, array_like=True):
    """An open episode of one metric and direction: EPISODE, the best score of each detector, and its Note."""

    metric: int
    direction: int
    record: bytes
    scores: list[float]
    trace_ids: list[str]
    background: bytes = b""
    tally: Tally = msgspec.field(default_factory=Tally)


class PairPiece(msgspec.Struct, array_like=True):
    """What detection knows of one pair: PAIR, CUSUM_STATE of each event metric of its BaselinePiece, what is open.

    A minute is a MINUTE record and its sketches; `background` is the BACKGROUND of the pair.
    """

    record: bytes
    cusum: bytes
    episodes: list[EpisodePiece]
    minutes: list[tuple[bytes, bytes]]
    background: bytes = b""


def schema_of(engine: Engine) -> dict[str, Any]:
    """How the pieces of this engine are laid out, for JSON."""
    schema = codec.describe(engine.settings.window, RECORDS)
    schema |= {"minute_window": MINUTE_WINDOW, "detectors": DETECTORS, "channels": []}
    schema |= {"novelty": novel_state.layout()}
    schema |= {"background": str(BACKGROUND.descr), "embeddings": str(EMBEDDING_STATE.descr)}
    if engine.is_calibrated:
        schema["channels"] = [[str(table.dtype.descr), table.shape[1:]] for table in engine.pair_states]
    return schema
