"""The embedded default: every part of the system in one process, with nothing but Python beneath it."""
