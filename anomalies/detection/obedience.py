"""How an engine takes up what operators say: policies of its pairs, and pairs that are retired.

All of it is a function of the state and the instructions, at one place between two events: a replay that takes up the
same instructions at the same place does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomalies.detection import episodes, minutes
from anomalies.detection.arrays import NO_ROW, UNTOLD, Columns
from anomalies.detection.instructions import Instructions
from anomalies.detection.policies import Policies
from anomalies.detection.settings import SILENCE as BY_SILENCE
from baselines.stats.series import FREE, SILENCE

if TYPE_CHECKING:
    from anomalies.detection.engine import Engine


def take_up(engine: Engine, instructions: Instructions) -> None:
    """Have the instructions hold from the next event on. What they forbid ends; retired pairs are forgotten."""
    if instructions == engine.instructions:
        return
    for pair, since in instructions.retired_since().items():
        row = engine.index.get(pair)
        if row is not None and engine.tables.pairs[row]["watermark"] <= since:
            _forget(engine, row)
    give(engine, instructions)
    for row in engine.index.values():
        apply_policies(engine, row)
    _end_forbidden(engine)


def give(engine: Engine, instructions: Instructions) -> None:
    """Make the instructions known to an engine; its pairs have the policies of the former ones yet."""
    engine.instructions = instructions
    engine.retired = instructions.retired_since()
    engine.retired_rows.clear()
    engine.policies = Policies(engine.settings, instructions.overrides)
    engine.tables = engine.tables._replace(policies=engine.policies.table)


def apply_policies(engine: Engine, row: int) -> None:
    """Look up the policies of a pair. A retired one that is still heard of from before is learned from, and muted."""
    pair = engine.pairs[row]
    since = engine.retired.get(pair)
    if since is not None and engine.tables.pairs[row]["watermark"] > since:
        since = None
    engine.tables.policy_of[row] = engine.policies.of(pair, muted=since is not None)
    if engine.tables.policies is not engine.policies.table:
        engine.tables = engine.tables._replace(policies=engine.policies.table)
    engine.retired_rows.pop(row, None)
    if since is not None:
        engine.retired_rows[row] = since
    for series in engine.tables.series_of[row].tolist():
        if series != NO_ROW:
            engine.derive(series)
    if engine.is_calibrated:
        policy = engine.policies.table[engine.tables.policy_of[row, SILENCE]]
        engine.watches.absences[row]["caution"] = policy["threshold"][BY_SILENCE]


def comebacks(engine: Engine, columns: Columns) -> dict[int, int]:
    """The places of events in a batch that bring back a retired pair, by telling of a later time; with its row."""
    found = {}
    for row, since in engine.retired_rows.items():
        heard = np.minimum(columns.event_ms, columns.record_ms)
        places = np.flatnonzero((columns.pair == row) & (heard > since))
        if len(places):
            found[int(places[0])] = row
    return found


def bring_back(engine: Engine, row: int) -> None:
    """Watch a retired pair again."""
    engine.retired.pop(engine.pairs[row], None)
    apply_policies(engine, row)


def settle(engine: Engine) -> None:
    """Tell apart, in a state that was loaded, the rows that are free and those whose retired pair came back."""
    engine.index.pop(FREE, None)
    engine.free_rows = {row for row, pair in enumerate(engine.pairs) if pair == FREE}
    for row in range(len(engine.pairs)):
        apply_policies(engine, row)


def _forget(engine: Engine, row: int) -> None:
    """End what is open of a pair, forget what it learned, and free its row and its series for others."""
    tables, found = engine.tables, engine.found
    found.counts[:] = 0
    for place in np.flatnonzero(tables.open_minutes[row] != NO_ROW).tolist():
        minutes.close(tables, found, row, place)
    for slot in tables.open_episodes[row][tables.open_episodes[row] != NO_ROW].tolist():
        episodes.end(tables, found, slot)
    engine.collect()
    engine.clear(row)


def _end_forbidden(engine: Engine) -> None:
    """End the open episodes of directions that are not told of any more, and of detectors that do not run any more."""
    tables, found = engine.tables, engine.found
    for pair, metric, direction, _ in list(engine.notes):
        slot = int(tables.open_episodes[pair, metric, direction])
        policy = tables.policies[tables.policy_of[pair, metric]]
        is_off = np.isinf(policy["threshold"][tables.episodes[slot]["detector"]])
        if is_off or policy["ceiling"][direction] == UNTOLD:
            found.counts[:] = 0
            episodes.end(tables, found, slot)
            engine.collect()
