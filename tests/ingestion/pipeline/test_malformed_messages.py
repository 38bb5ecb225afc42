"""What cannot be used is kept with its reason, and stops nobody unless that is wanted."""

from __future__ import annotations

import random
from collections import Counter

from ingestion.formats.event import partition_key
from tests.ingestion.kafka_reading import landed
from tests.ingestion.malformed import good_event, malformed_messages
from tests.ingestion.pipeline.recordings import Message, message
from tests.ingestion.pipeline.threads import consume
from tests.ingestion.pipeline.worlds import World, count, publish

KEY = partition_key("chat-api", "gpt-4")


def mixed(kinds: int, seed: int) -> tuple[list[Message], list[str]]:
    """As many good messages as malformed ones in one random order, and the reasons of those that are malformed."""
    rng = random.Random(seed)
    bad = malformed_messages(kinds, seed)
    messages: list[Message] = [message(good_event(rng)) for _ in range(kinds)]
    messages += [(KEY, payload, 1_730_888_700_000) for payload, _ in bad]
    rng.shuffle(messages)
    return messages, [reason for _, reason in bad]


def test_a_thousand_malformed_messages_are_dead_letters_and_a_thousand_good_ones_are_stored(world: World) -> None:
    messages, reasons = mixed(1000, seed=11)
    publish(world.topics, messages)
    consume(world, "detect", "store")
    letters = landed(world.topics.brokers, world.topics.dead_letters)
    assert Counter(letter.value["reason"] for letter in letters) == Counter(reasons)
    places = {(letter.value["partition"], letter.value["offset"]) for letter in letters}
    assert len(places) == 1000
    assert count(world.database, "ingestion_telemetryevent") == 1000


def test_a_consumer_told_to_stop_at_the_limit_ends_with_code_1_and_says_why(world: World) -> None:
    messages, _ = mixed(300, seed=3)
    publish(world.topics, messages)
    strict = world.configured(SENTINEL__INGESTION__DEAD_LETTERS__ON_LIMIT="stop")
    ended = strict.consume(role="detect")
    assert ended.returncode == 1
    assert "messages are invalid" in ended.stdout
    assert "on_limit is stop" in ended.stdout
    assert landed(world.topics.brokers, world.topics.dead_letters)
