"""The embedded default: every part of the system in one process, with nothing but Python beneath it."""

LIVE_THREADS = 6
"""Threads of the web server, beside its usual ones, in which open pages wait to hear of changes; further pages poll."""
