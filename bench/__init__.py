"""Measurements. They print what they find and write it to var/bench; none fails for being slow."""

DATA_MISSING = 77
"""The exit code of a bench whose recordings are not there: what test runners take for "skipped"."""
