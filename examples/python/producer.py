"""Sends telemetry of simulated LLM calls to Kafka: usual ones, then anomalous ones of four kinds.

python producer.py --brokers localhost:9092
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

USD_PER_PROMPT_TOKEN = 2.5e-6
USD_PER_COMPLETION_TOKEN = 10e-6
CONTINUOUS_RATE = 10.0
FLUSH_SECONDS = 30.0
REPORT_SECONDS = 5.0

Event = dict[str, Any]


def normal_call(rng: random.Random, service: str, model: str) -> Event:
    """A usual call: some 400 prompt tokens, 120 completion tokens, 900 ms."""
    prompt, completion = round(rng.lognormvariate(6.0, 0.2)), round(rng.lognormvariate(4.8, 0.2))
    return {
        "event_id": str(uuid.uuid4()),
        "timestamp": datetime.now(UTC).isoformat(),
        "service_name": service,
        "model_name": model,
        "latency_ms": round(rng.gauss(300, 20) + 5 * completion, 1),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cost_usd": cost_of(prompt, completion),
        "user_id": f"user-{rng.randrange(100):03d}",
        "session_id": f"session-{rng.randrange(1000):04d}",
        "finish_reason": "stop",
        "metadata": {"region": rng.choice(["us-east-1", "eu-west-1"]), "kind": "normal"},
    }


def cost_of(prompt_tokens: int, completion_tokens: int) -> float:
    return round(prompt_tokens * USD_PER_PROMPT_TOKEN + completion_tokens * USD_PER_COMPLETION_TOKEN, 8)


def high_latency(call: Event, rng: random.Random) -> None:
    """The provider takes 20 to 40 times as long."""
    call["latency_ms"] = round(call["latency_ms"] * rng.uniform(20, 40), 1)


def high_tokens(call: Event, rng: random.Random) -> None:
    """The model does not stop: 25 to 30 times the completion, and its time and cost."""
    call["completion_tokens"] = round(call["completion_tokens"] * rng.uniform(25, 30))
    call["latency_ms"] = round(300 + 5.0 * call["completion_tokens"], 1)
    call["cost_usd"] = cost_of(call["prompt_tokens"], call["completion_tokens"])
    call["finish_reason"] = "length"


def high_cost(call: Event, rng: random.Random) -> None:
    """The same tokens at 50 to 100 times the price: a wrong tier, a doubled bill."""
    call["cost_usd"] = round(call["cost_usd"] * rng.uniform(50, 100), 8)


def suspicious_pattern(call: Event, rng: random.Random) -> None:
    """One user stuffs the prompt and gets next to nothing back: someone tries to talk the model out of its rules."""
    call["prompt_tokens"] = round(call["prompt_tokens"] * rng.uniform(40, 60))
    call["completion_tokens"] = 1
    call["cost_usd"] = cost_of(call["prompt_tokens"], 1)
    call["user_id"] = call["session_id"] = "suspicious"
    call["finish_reason"] = "content_filter"


KINDS: dict[str, Callable[[Event, random.Random], None]] = {
    "high_latency": high_latency,
    "high_tokens": high_tokens,
    "high_cost": high_cost,
    "suspicious_pattern": suspicious_pattern,
}


def round_of_calls(rng: random.Random, options: argparse.Namespace, kinds: Iterator[str]) -> Iterator[Event]:
    """The normal calls, then the anomalous ones, of the kinds whose turn it is."""
    for _ in range(options.normal_events):
        yield normal_call(rng, options.service, options.model)
    for kind in itertools.islice(kinds, options.anomalous_events):
        call = normal_call(rng, options.service, options.model)
        KINDS[kind](call, rng)
        call["metadata"]["kind"] = kind
        yield call


@dataclass
class Sender:
    """Sends events and counts the broker's reports: `delivered` by partition, `failed` by reason."""

    producer: Producer
    topic: str
    sent: int = 0
    delivered: Counter[int] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def send(self, event: Event) -> None:
        """Queue an event under the key that keeps its series in one partition; waits while the queue is full."""
        key = f"{event['service_name']}|{event['model_name']}"
        self.sent += 1
        while True:
            try:
                self.producer.produce(self.topic, json.dumps(event), key, on_delivery=self.report)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def report(self, error: KafkaError | None, message: Message) -> None:
        """A message was acknowledged by every replica that must have it, or given up."""
        if error is None:
            self.delivered[message.partition() or 0] += 1
        else:
            self.failed[error.str()] += 1

    def finish(self) -> None:
        """Wait for the reports that are still out."""
        for _ in range(self.producer.flush(FLUSH_SECONDS)):
            self.failed["no report in time"] += 1

    def __str__(self) -> str:
        partitions = ", ".join(f"{count} in partition {number}" for number, count in sorted(self.delivered.items()))
        failures = "".join(f"; {count} failed: {reason}" for reason, count in self.failed.items())
        return f"{self.sent} sent, {self.delivered.total()} delivered ({partitions or 'none'}){failures}"


def run(sender: Sender, options: argparse.Namespace, stop: threading.Event) -> None:
    """Send one round, or round after round until `stop`, at the wanted rate."""
    rng, kinds = random.Random(options.seed), itertools.cycle(KINDS)
    began = reported = time.monotonic()
    while not stop.is_set():
        for event in round_of_calls(rng, options, kinds):
            due = began + sender.sent / options.rate if options.rate else 0.0
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            sender.send(event)
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                print(sender, flush=True)
        if not options.continuous:
            return


def connect(options: argparse.Namespace) -> Producer:
    """A producer that loses, doubles and reorders nothing, and places keys as Java's clients do."""
    settings = {
        "bootstrap.servers": options.brokers,
        "partitioner": "murmur2_random",  # the default of librdkafka would part one series in two
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 5,
        "compression.type": "zstd",
        "message.timeout.ms": 20_000,
        "reconnect.backoff.ms": 1_000,
    }
    return Producer(settings | dict(options.property))


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--brokers", default="localhost:9092", help="host:port, with commas between several")
    parser.add_argument("--topic", default="llm.telemetry")
    parser.add_argument("--normal-events", type=count, default=20, metavar="N")
    parser.add_argument("--anomalous-events", type=count, default=5, metavar="N", help=f"of {', '.join(KINDS)} in turn")
    parser.add_argument("--continuous", action="store_true", help="round after round, until Ctrl-C")
    parser.add_argument("--rate", type=float, help=f"events a second, 0: all at once (continuous: {CONTINUOUS_RATE:g})")
    parser.add_argument("--service", default="example-python")
    parser.add_argument("--model", default="gpt-4o")
    parser.add_argument("--seed", type=int, help="the same calls every time")
    parser.add_argument(
        *("-X", "--property"), type=setting, action="append", default=[], metavar="NAME=VALUE", help="of librdkafka"
    )
    options = parser.parse_args(arguments)
    if options.normal_events + options.anomalous_events == 0:
        parser.error("nothing to send: --normal-events and --anomalous-events are both 0")
    if options.rate is None:
        options.rate = CONTINUOUS_RATE if options.continuous else 0.0
    if options.rate < 0:
        parser.error("--rate must not be negative")
    return options


def count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f'must be NAME=VALUE, not "{text}"')
    return name, value


def main() -> int:
    """Send, wait for the reports, tell; 0 if everything was delivered."""
    options = parsed()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sender = Sender(connect(options), options.topic)
    run(sender, options, stop)
    sender.finish()
    print(sender)
    return 1 if sender.failed else 0


if __name__ == "__main__":
    sys.exit(main())
