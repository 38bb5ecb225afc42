"""The trial run meets every loop that a consumer meets."""

from __future__ import annotations

from anomalies.detection import kernel
from anomalies.detection.settings import MODES, DetectionSettings
from anomalies.detection.warmup import warm_up


def test_the_trial_run_flags_spikes_in_both_modes() -> None:
    assert all(warm_up(DetectionSettings(mode=mode)) for mode in MODES)


def test_nothing_is_left_to_compile_after_the_trial_run() -> None:
    warm_up()
    loops = (kernel.process, kernel.advance, kernel.earliest_due, kernel.take_changed, kernel.has_new_series)
    assert all(len(loop.signatures) >= 1 for loop in loops)
