"""What the commands that read recordings or publish have in common on their command lines."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import timedelta
from math import inf, nan
from typing import Any

from confluent_kafka import KafkaException
from django.conf import settings
from django.core.management.base import CommandError

from ingestion.pacing import Clock
from ingestion.publishing import BrokerLostError, Publisher
from ingestion.recordings import CallCost, Trace

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", re.ASCII)


def duration(text: str) -> timedelta:
    """`90s`, `10m`, `6h`, `1h30m`, `2d`; a bare number is seconds. ArgumentTypeError for anything else."""
    match = _DURATION.fullmatch(text)
    if not text or not match:
        raise ArgumentTypeError(f"must be a duration such as 90s, 10m, 6h or 1h30m, not {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise ArgumentTypeError(f"is too long: {text!r}") from None


def speed(text: str) -> float:
    """`max` is infinity; else a number above 0. ArgumentTypeError for anything else."""
    try:
        factor = inf if text == "max" else float(text)
    except ValueError:
        factor = nan
    if not factor > 0:
        raise ArgumentTypeError(f"must be a number above 0, or max, not {text!r}")
    return factor


def not_negative(text: str) -> float:
    """A finite number, 0 or more. ArgumentTypeError for anything else."""
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not 0 <= number < inf:
        raise ArgumentTypeError(f"must be a number, 0 or more, not {text!r}")
    return number


def at_least(least: int) -> Callable[[str], int]:
    """A type of whole numbers that are `least` or more."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ArgumentTypeError(f"must be a whole number, {least} or more, not {text!r}")
        return int(text)

    return count


def add_publishing_options(parser: ArgumentParser) -> None:
    """--topic, --brokers and --max-lag."""
    parser.add_argument("--topic", help="default: ingestion.kafka.topic of the configuration")
    parser.add_argument("--brokers", help="host:port,host:port; default: ingestion.kafka.brokers")
    parser.add_argument(
        "--max-lag",
        type=at_least(0),
        metavar="MESSAGES",
        help="wait while the consumers are further behind than this in a partition (at least 4); 0: never wait; "
        "default: bounded on the embedded broker, which drops what is old, unbounded elsewhere",
    )


@contextmanager
def publisher_of(options: dict[str, Any], clock: Clock) -> Iterator[Publisher]:
    """The publisher that the options of `add_publishing_options` describe. CommandError if the broker fails it."""
    kafka = settings.SENTINEL.ingestion.kafka
    if options["brokers"]:
        kafka = kafka.model_copy(update={"brokers": tuple(options["brokers"].split(","))})
    try:
        with Publisher(kafka, options["topic"] or kafka.topic, clock, options["max_lag"]) as publisher:
            yield publisher
    except KafkaException as error:
        raise CommandError(f"Kafka at {','.join(kafka.brokers)}: {error.args[0].str()}") from error
    except BrokerLostError as error:
        raise CommandError(f"Kafka at {','.join(kafka.brokers)}: {error}") from error


def add_trace_options(parser: ArgumentParser) -> None:
    """What --format llm-trace derives, and from what."""
    group = parser.add_argument_group("llm-trace")
    usual = Trace()
    group.add_argument("--service", default=usual.service, help=f"service of the events (default {usual.service})")
    group.add_argument("--model", default=usual.model, help=f"model of the events (default {usual.model})")
    group.add_argument("--seed", type=at_least(0), default=0, help="of the noise in latency (default 0)")
    for field in fields(CallCost):
        name = "--" + field.name.replace("_", "-")
        group.add_argument(name, type=not_negative, default=field.default, help=f"default {field.default}")


def trace_of(options: dict[str, Any]) -> Trace:
    """What the options of `add_trace_options` describe."""
    cost = CallCost(**{field.name: options[field.name] for field in fields(CallCost)})
    return Trace(options["service"], options["model"], options["seed"], cost)
