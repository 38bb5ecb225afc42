"""Simulated LLM traffic: fleet, generator and scenarios are pure (NumPy); only `traffic` talks to Kafka."""
