"""What programs ask of ingestion: telemetry in, telemetry out."""
