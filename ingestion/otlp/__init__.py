"""OTLP over HTTP: `POST /v1/traces`, `/v1/metrics` and `/v1/logs`, as OpenTelemetry's exporters send them."""
