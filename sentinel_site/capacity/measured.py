"""What was measured, each figure with where it is from. Nothing here is a promise for another machine.

All on two cores of a virtual AMD EPYC with 24 GB, CPython 3.11, events of 554 bytes without texts, every server on the
same two cores. Rates are those of a wall clock, so whoever shares the cores is part of them.
"""

from __future__ import annotations

from typing import Final

# Bytes
EVENT_BYTES_KAFKA: Final = 554
"""Key and value of one native event on the topic, not compressed: mean of 20 000 (bench.messages)."""
LINE_BYTES_SENT: Final = 113
"""One event as line protocol, gzipped at level 1 as the store role sends it: mean of 100 000."""
EVENT_BYTES_PARQUET: Final = 82
"""One event in Parquet with zstd, sorted by series, as InfluxDB 3 files them: 100 000 events of 20 pairs by pyarrow.
Not InfluxDB's own files: their catalogue and what is not compacted yet come on top (STORE_OVERHEAD)."""
MINUTE_BYTES: Final = 1_354
"""One row of telemetry minutes with 900 bytes of sketches and its share of all indexes: 20 000 rows, PostgreSQL 15."""
HOUR_BYTES: Final = 1_293
"""One row of telemetry hours, likewise."""
ANOMALY_BYTES: Final = 2_437
"""One anomaly and its incident with their indexes: 2 000 of each, PostgreSQL 15."""
PAIR_BYTES: Final = 53_000
"""State of one (service, model) with five metrics and windows of 1 000 samples (docs/detection.md, what it costs)."""
NOVELTY_SERIES_BYTES: Final = 208_000
"""State of one series that novelty watches (docs/detection.md; detection.max_novelty_series bounds them)."""

# Processes
DETECT_EVENTS_PER_SECOND: Final = 45_700
"""One detect process from Kafka to PostgreSQL, 20 pairs: the lowest of the last runs of `python -m bench pipeline`."""
STORE_EVENTS_PER_SECOND: Final = 12_500
"""A store process into a double of InfluxDB 3 that is written in Python and took half the machine: a lower bound."""
DETECT_BASE_BYTES: Final = 607_000_000
"""The greatest memory of a detect process under full load at 20 pairs, same runs."""
STORE_BASE_BYTES: Final = 525_000_000
"""The greatest memory of a store process under full load, same runs."""
ENGINE_EVENTS_PER_SECOND: Final = ((10, 746_000), (1_000, 463_000), (10_000, 267_000))
"""(pairs, events a second) of the engine alone with five metrics (`python -m bench.engine`, docs/detection.md)."""
INFLUXDB_LINES_PER_SECOND: Final = 100_000
"""What one InfluxDB 3 Core node is expected to take. Not measured: to be verified on the machine that will run it."""
