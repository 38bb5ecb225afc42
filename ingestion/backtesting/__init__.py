"""Recorded telemetry through the code of the live pipeline: what would this configuration have told me?"""
