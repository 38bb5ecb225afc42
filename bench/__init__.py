"""Measurements. They print what they find and write it to var/bench; none fails for being slow."""
