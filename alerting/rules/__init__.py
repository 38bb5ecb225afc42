"""Who hears what and when, as pure functions: matching, deduplication, backoff, signatures, bodies. No Django."""
