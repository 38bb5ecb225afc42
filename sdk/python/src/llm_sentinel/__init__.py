"""Telemetry of LLM calls for LLM-Sentinel.

from llm_sentinel import TelemetryProducer

producer = TelemetryProducer(brokers=["kafka:9092"], topic="llm.telemetry")
"""

from llm_sentinel.call import Call
from llm_sentinel.event import InvalidEvent, TelemetryEvent
from llm_sentinel.outbox import Statistics
from llm_sentinel.producer import TelemetryProducer
from llm_sentinel.transport import Delivery, Message, Transport
from llm_sentinel.transport_http import HttpTransport
from llm_sentinel.transport_kafka import KafkaTransport
from llm_sentinel.usage import Usage, usage_of

__all__ = [
    "Call",
    "Delivery",
    "HttpTransport",
    "InvalidEvent",
    "KafkaTransport",
    "Message",
    "Statistics",
    "TelemetryEvent",
    "TelemetryProducer",
    "Transport",
    "Usage",
    "usage_of",
]
