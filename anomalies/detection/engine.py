"""The engine: learns and scores the series of one partition, and tells what departed from normal.

engine = Engine(settings, topic_id, partition)
detections = engine.score(columns)        # as often as batches come
changes = engine.drain()                  # since the last drain: episodes, closed minutes
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from anomalies.detection import arrays, bands, kernel
from anomalies.detection.arrays import CLOSED, DETECTIONS, DIRECTIONS, ENDED, NEVER, NO_ROW, SEVERITIES, Columns, Tables
from anomalies.detection.settings import DETECTORS, DetectionSettings
from anomalies.detection.verdicts import Changes, Detection, Episode, Minute, episode_id
from baselines.stats import sketch
from baselines.stats.series import METRICS, Pair, SeriesKey

OTHER = Pair("__other__", "__other__")
CHUNK = 512  # events per call of the kernel: bounds the room its findings need
LONG_AGO = -(1 << 62)


@dataclass
class Engine:
    """The detection state of one partition and what is done with it.

    Not thread-safe: one thread scores; what it drained may go anywhere.
    """

    settings: DetectionSettings
    topic_id: UUID
    partition: int
    pairs: list[Pair] = field(default_factory=list)
    series_keys: list[tuple[int, int]] = field(default_factory=list)  # (pair, metric) of each series
    traces: dict[tuple[int, int], list[str]] = field(default_factory=dict)  # of open episodes: samples to look at
    overflowed: int = 0  # events of pairs beyond max_pairs, counted under OTHER

    def __post_init__(self) -> None:
        self.tables: Tables = arrays.allocate(pairs=16, series=64, slots=CHUNK + 64, window=self.settings.window)
        self.index: dict[Pair, int] = {}
        self.touched: set[int] = set()  # pairs changed since the last drain
        self._ended: list[Episode] = []
        self._minutes: list[Minute] = []
        self.rules = arrays.Rules(
            self.settings.parameters(),
            self.settings.watched(),
            self.settings.min_samples,
            self.settings.refresh_ms,
            self.settings.quiet_ms,
            self.settings.lateness_ms,
        )

    # Rows

    def pair_row(self, service: str, model: str) -> int:
        """The row of a pair, made when it is first seen; beyond `max_pairs` the shared row of OTHER."""
        pair = Pair(service, model)
        row = self.index.get(pair)
        if row is None:
            if len(self.pairs) >= self.settings.max_pairs and pair != OTHER:
                self.overflowed += 1
                return self.pair_row(*OTHER)
            row = self.add_pair(pair)
        return row

    def add_pair(self, pair: Pair) -> int:
        row = len(self.pairs)
        self._make_room(pairs=row + 1)
        self.pairs.append(pair)
        self.index[pair] = row
        self.tables.pairs[row] = (LONG_AGO, LONG_AGO, NEVER)
        return row

    def add_series(self, pair: int, metric: int) -> int:
        row = len(self.series_keys)
        self._make_room(series=row + 1)
        self.series_keys.append((pair, metric))
        self.tables.series_of[pair, metric] = row
        return row

    def series_key(self, series: int) -> SeriesKey:
        pair, metric = self.series_keys[series]
        return SeriesKey(*self.pairs[pair], METRICS[metric])

    def derive(self, series: int) -> None:
        """Make the derived columns of a series anew, after its state was loaded."""
        if self.tables.series[series]["samples"] > 0:
            metric = self.series_keys[series][1]
            watched = self.rules.watched[:, metric]
            bands.derive(self.tables.bands[series], self.tables.series[series], self.rules.parameters, watched)

    def _make_room(self, pairs: int = 0, series: int = 0, slots: int = 0) -> None:
        """Grow tables to hold the given numbers of rows; by doubling, so that it is rare."""
        old = self.tables
        if pairs <= len(old.pairs) and series <= len(old.series) and slots <= len(old.minutes):
            return
        sizes = [
            size if wanted <= size else max(wanted, 2 * size)
            for wanted, size in ((pairs, len(old.pairs)), (series, len(old.series)), (slots, len(old.minutes)))
        ]
        new = arrays.allocate(*sizes, window=self.settings.window)
        for name in ("pairs", "series_of", "open_minutes", "series", "rings", "bands", "cusum", "episodes"):
            getattr(new, name)[: len(getattr(old, name))] = getattr(old, name)
        for name in ("episode_scores", "minutes", "sketches"):
            getattr(new, name)[: len(getattr(old, name))] = getattr(old, name)
        added = np.arange(len(old.minutes), sizes[2])
        free = int(old.free_count[0])
        new.free_minutes[:free] = old.free_minutes[:free]
        new.free_minutes[free : free + len(added)] = added
        new.free_count[0] = free + len(added)
        self.tables = new

    # Scoring

    def score(self, columns: Columns, trace_ids: list[str] | None = None) -> list[Detection]:
        """Take a batch in the order of its offsets; returns one Detection per flagged sample.

        `columns.pair` holds rows given by `pair_row`; `trace_ids` has one text per event, "" where there is none.
        Infinite values are taken for missing ones: no statistic survives them.
        """
        columns.values[np.isinf(columns.values)] = math.nan
        self._add_missing_series(columns)
        self.touched.update(np.unique(columns.pair).tolist())
        detections: list[Detection] = []
        for start in range(0, len(columns.pair), CHUNK):
            part = Columns(*(column[start : start + CHUNK] for column in columns))
            detections += self._score_chunk(part, trace_ids[start : start + CHUNK] if trace_ids else None)
        return detections

    def _add_missing_series(self, columns: Columns) -> None:
        present = ~np.isnan(columns.values) & ~columns.failed[:, None]
        missing = present & (self.tables.series_of[columns.pair] == NO_ROW)
        if not missing.any():
            return
        events, metrics = np.nonzero(missing)
        for pair, metric in sorted(set(zip(columns.pair[events].tolist(), metrics.tolist(), strict=True))):
            self.add_series(pair, metric)

    def _score_chunk(self, columns: Columns, trace_ids: list[str] | None) -> list[Detection]:
        events = len(columns.pair)
        self._make_room(slots=len(self.tables.minutes) + max(0, events - int(self.tables.free_count[0])))
        most = events * len(METRICS)
        findings = arrays.found(most, most + self._open_episodes(), len(self.tables.minutes))
        kernel.process(self.tables, self.rules, columns, findings)
        detections = list(self._detections(findings, trace_ids))
        self._collect(findings)
        return detections

    def _open_episodes(self) -> int:
        return int(self.tables.episodes["is_open"][: len(self.series_keys)].sum())

    def _detections(self, findings: arrays.Found, trace_ids: list[str] | None) -> Iterator[Detection]:
        filled = int(findings.counts[DETECTIONS])
        scores = findings.detection_scores[:filled].tolist()
        for row, all_scores in zip(findings.detections[:filled].tolist(), scores, strict=True):
            (event, offset, event_ms, series, direction, detector, severity, ordinal, first, *numbers) = row
            trace_id = trace_ids[event] if trace_ids else ""
            self._remember_trace(series, direction, ordinal, trace_id)
            key = self.series_key(series)
            yield Detection(
                event=event,
                offset=offset,
                event_ms=event_ms,
                key=key,
                direction=DIRECTIONS[direction],
                detector=DETECTORS[detector],
                detectors=_agreeing(all_scores),
                severity=SEVERITIES[severity],
                anomaly_id=episode_id(self.topic_id, self.partition, first, key, DIRECTIONS[direction]),
                value=numbers[0],
                expected=numbers[1],
                lower=numbers[2],
                upper=numbers[3],
                score=numbers[4],
            )

    def _remember_trace(self, series: int, direction: int, ordinal: int, trace_id: str) -> None:
        if ordinal == 1:
            self.traces[series, direction] = []
        samples = self.traces.setdefault((series, direction), [])
        if trace_id and len(samples) < Episode.MOST_TRACES:
            samples.append(trace_id)

    # Time

    def earliest_due(self) -> int:
        """The record time (ms) at which `advance` would close something; NEVER if nothing is open."""
        return int(kernel.earliest_due(self.tables, len(self.pairs)))

    def advance(self, now_ms: int) -> None:
        """Let idle time pass up to the record time `now_ms`: ends what no further event would end."""
        findings = arrays.found(0, self._open_episodes(), len(self.tables.minutes))
        kernel.advance(self.tables, self.rules, len(self.pairs), now_ms, findings)
        self._collect(findings)

    # What came of it

    def _collect(self, findings: arrays.Found) -> None:
        """Keep what ended for the next drain, and free the slots of closed minutes."""
        for place in range(int(findings.counts[ENDED])):
            series, direction = findings.ended_rows[place].tolist()
            self.touched.add(self.series_keys[series][0])
            self._ended.append(
                self._episode(findings.ended[place], findings.ended_scores[place], series, direction, "ended")
            )
            self.traces.pop((series, direction), None)
        for slot in findings.closed_minutes[: int(findings.counts[CLOSED])].tolist():
            self._minutes.append(self._minute(slot))
            self.touched.add(int(self.tables.minutes[slot]["pair"]))
            self.free_minute(slot)

    def take_minute(self) -> int:
        """A free slot for a minute that was loaded."""
        if self.tables.free_count[0] == 0:
            self._make_room(slots=len(self.tables.minutes) + 1)
        self.tables.free_count[0] -= 1
        return int(self.tables.free_minutes[self.tables.free_count[0]])

    def free_minute(self, slot: int) -> None:
        self.tables.minutes[slot] = np.zeros((), arrays.MINUTE)
        self.tables.sketches[slot] = 0
        self.tables.free_minutes[self.tables.free_count[0]] = slot
        self.tables.free_count[0] += 1

    def drain(self) -> Changes:
        """Everything that changed since the last drain, in absolute values, and which pairs were touched."""
        episodes, self._ended = self._ended, []
        changed = self.tables.episodes["is_changed"][: len(self.series_keys)].astype(bool)
        for series, direction in np.argwhere(changed).tolist():
            record = self.tables.episodes[series, direction]
            if record["is_open"]:
                scores = self.tables.episode_scores[series, direction]
                episodes.append(self._episode(record, scores, series, direction, "active"))
        self.tables.episodes["is_changed"] = 0
        minutes, self._minutes = self._minutes, []
        touched, self.touched = self.touched, set()
        return Changes(episodes, minutes, sorted(touched))

    def _episode(
        self, record: NDArray[np.void], scores: NDArray[np.float64], series: int, direction: int, state: str
    ) -> Episode:
        key = self.series_key(series)
        stddev, mean, value = float(record["stddev"]), float(record["mean"]), float(record["value"])
        agreeing = _agreeing(scores.tolist())
        return Episode(
            id=episode_id(self.topic_id, self.partition, int(record["first_offset"]), key, DIRECTIONS[direction]),
            key=key,
            direction=DIRECTIONS[direction],
            detector=DETECTORS[int(record["detector"])],
            detectors=agreeing,
            value=value,
            score=float(record["score"]),
            mean=mean,
            stddev=stddev,
            median=float(record["median"]),
            lower=_finite(record["lower"]),
            upper=_finite(record["upper"]),
            z_score=(value - mean) / stddev if stddev > 0 else None,
            severity=SEVERITIES[int(record["severity"])],
            confidence=len(agreeing) / max(1, int(self.rules.watched[:, self.series_keys[series][1]].sum())),
            occurrences=int(record["occurrences"]),
            first_seen_ms=int(record["first_seen"]),
            last_seen_ms=int(record["last_seen"]),
            first_offset=int(record["first_offset"]),
            last_offset=int(record["last_offset"]),
            state=state,
            sample_trace_ids=tuple(self.traces.get((series, direction), ())),
        )

    def _minute(self, slot: int) -> Minute:
        record = self.tables.minutes[slot]
        return Minute(
            pair=self.pairs[int(record["pair"])],
            minute_ms=int(record["minute"]),
            first_offset=int(record["first_offset"]),
            last_offset=int(record["last_offset"]),
            count=int(record["count"]),
            errors=int(record["errors"]),
            cost_usd=float(record["cost_usd"]),
            prompt_tokens=int(record["prompt_tokens"]),
            completion_tokens=int(record["completion_tokens"]),
            total_tokens=int(record["total_tokens"]),
            unpriced_calls=int(record["unpriced_calls"]),
            unpriced_tokens=int(record["unpriced_tokens"]),
            sketches=sketch.encode(self.tables.sketches[slot]),
        )

    def open_episode_ids(self) -> list[UUID]:
        """The ids of all episodes that are open now."""
        records = self.tables.episodes[: len(self.series_keys)]
        return [
            episode_id(
                self.topic_id,
                self.partition,
                int(records[series, direction]["first_offset"]),
                self.series_key(series),
                DIRECTIONS[direction],
            )
            for series, direction in np.argwhere(records["is_open"] == 1).tolist()
        ]


def _agreeing(scores: list[float]) -> dict[str, float]:
    return {DETECTORS[place]: score for place, score in enumerate(scores) if score >= 1.0}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
