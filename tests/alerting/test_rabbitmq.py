"""RabbitMQ for real: confirms, routing, limits, and a broker that goes away."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from kombu.transport import memory

from alerting.channels import rabbitmq
from alerting.channels.base import DeliveryFailed, Target
from alerting.channels.rabbitmq import RabbitMQ
from tests.alerting.factories import NOW, message
from tests.alerting.rabbit import Broker, mute_after
from tests.support import services


@pytest.fixture
def broker(loopback_allowed: None) -> Iterator[Broker]:
    with Broker.fresh(services.require("rabbitmq")) as found:
        yield found


def send(broker: Broker, changes: dict[str, Any] | None = None, **config: Any) -> None:
    RabbitMQ().send(broker.target(**config), message(**(changes or {})), NOW)


def test_a_message_has_the_documented_properties(broker: Broker) -> None:
    sent = message()
    RabbitMQ().send(broker.target(), sent, NOW)
    (found,) = broker.drain()
    assert found.delivery_info["routing_key"] == "alert.critical.chat-api.latency_spike"
    assert found.delivery_info["exchange"] == broker.exchange
    assert found.properties["delivery_mode"] == 2
    assert found.properties["content_type"] == "application/json"
    assert found.properties["message_id"] == sent.id
    assert found.properties["type"] == "anomaly.opened"
    assert found.properties["timestamp"] == NOW or int(found.properties["timestamp"]) == int(NOW.timestamp())


def test_a_receiver_selects_by_severity(broker: Broker) -> None:
    send(broker)
    queue = f"{broker.exchange}.critical"
    broker.bind(queue, "alert.critical.#", **{"x-expires": 60_000})
    for severity in ("critical", "warning"):
        send(broker, {"severity": severity})
    assert [found.delivery_info["routing_key"].split(".")[1] for found in broker.drain(queue)] == ["critical"]


def test_what_no_queue_takes_is_a_failure_and_not_lost_in_silence(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(broker)
    with broker.connection() as connection:
        connection.channel().queue_delete(broker.exchange)
    # The queue would be declared anew: this broker's user may not.
    monkeypatch.setattr(rabbitmq.Queue, "declare", lambda self: None)
    with pytest.raises(DeliveryFailed, match="no queue takes") as caught:
        send(broker)
    assert not caught.value.permanent
    assert caught.value.status_code == 312


def test_a_full_queue_that_refuses_is_a_failure(broker: Broker) -> None:
    with broker.connection() as connection:
        connection.channel().exchange_declare(broker.exchange, "topic", durable=True, auto_delete=False)
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    broker.bind(broker.exchange, "alert.#", **limits)
    send(broker)
    with pytest.raises(DeliveryFailed, match="nack") as caught:
        send(broker)
    assert not caught.value.permanent


def test_a_queue_that_somebody_set_up_otherwise_is_used_as_it_is(broker: Broker) -> None:
    with broker.connection() as connection:
        connection.channel().exchange_declare(broker.exchange, "topic", durable=True, auto_delete=False)
    broker.bind(broker.exchange, "alert.#", **{"x-max-length": 7})
    send(broker)
    assert len(broker.drain()) == 1


def test_the_default_queue_is_bounded(broker: Broker) -> None:
    send(broker)
    with broker.connection() as connection, pytest.raises(connection.channel_errors, match="x-max-length"):
        connection.channel().queue_declare(broker.exchange, durable=True, auto_delete=False)


def test_a_broker_that_takes_a_message_and_never_confirms_it_is_left_in_time(broker: Broker) -> None:
    with mute_after(broker.url, b"anomaly.opened") as url:
        began = time.monotonic()
        with pytest.raises(DeliveryFailed) as caught:
            send(Broker(url, broker.exchange), timeout_secs=0.5)
        assert time.monotonic() - began < 4
    assert "did not confirm in time" in str(caught.value)
    assert not caught.value.permanent


def test_a_wrong_password_is_said_and_may_be_tried_again(broker: Broker) -> None:
    target = broker.target()
    with pytest.raises(DeliveryFailed, match=r"(?i)access") as caught:
        RabbitMQ().send(Target(target.name, target.config, "wrong"), message(), NOW)
    assert not caught.value.permanent


def test_a_broker_that_restarts_fails_the_attempt_and_takes_the_next(tmp_path: Path, loopback_allowed: None) -> None:
    with services.private("rabbitmq", tmp_path) as service:
        broker = Broker(service.url, "sentinel.alerts")
        first, second, third = message(), message(), message()
        RabbitMQ().send(broker.target(), first, NOW)
        service.kill()
        with pytest.raises(DeliveryFailed) as caught:
            RabbitMQ().send(broker.target(), second, NOW)
        assert not caught.value.permanent
        service.start()
        RabbitMQ().send(broker.target(), third, NOW)
        ids = [found.properties["message_id"] for found in broker.drain()]
    assert ids == [first.id, third.id]  # confirmed and persistent: the first one outlived the kill


@pytest.fixture
def in_memory() -> Iterator[Target]:
    memory.Channel.queues.clear()
    yield Target("config:rabbitmq", {"url": "memory://", "exchange": f"x.{uuid.uuid4().hex}"}, "", trusted=True)
    memory.Channel.queues.clear()


def stored(target: Target) -> list[Any]:
    with Connection("memory://") as connection:
        channel = connection.channel()
        found = []
        while taken := channel.basic_get(target.config["exchange"], no_ack=True):
            found.append(taken)
        return found


def test_the_memory_transport_carries_the_same_message(in_memory: Target) -> None:
    sent = message()
    answer = RabbitMQ().send(in_memory, sent, NOW)
    (found,) = stored(in_memory)
    assert found.body == sent.body or found.body == sent.body.decode()
    assert found.properties["message_id"] == sent.id
    assert found.delivery_info["routing_key"] == "alert.critical.chat-api.latency_spike"
    assert answer.text == "published in memory"


def test_in_memory_only_the_newest_messages_are_kept(in_memory: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "MEMORY_QUEUE_LENGTH", 3)
    sent = [message() for _ in range(5)]
    for each in sent:
        RabbitMQ().send(in_memory, each, NOW)
    assert [found.properties["message_id"] for found in stored(in_memory)] == [each.id for each in sent[2:]]


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({"url": "http://x/"}, "url", "amqp://"),
        ({"url": "amqp://"}, "url", "host"),
        ({"url": "memory://"}, "url", "amqp://"),
        ({"url": "amqp://u:p@x/"}, "url", "belongs in the secret"),
        ({"url": "amqp://x/", "exchange": "a b"}, "exchange", "letters"),
        ({"url": "amqp://x/", "routing_key_prefix": "a.b"}, "routing_key_prefix", "letters"),
        ({"url": "amqp://x/", "persistent": "no"}, "persistent", "true or false"),
        ({"url": "amqp://x/", "username": 3}, "username", "text"),
        ({"url": "amqp://x/", "timeout_secs": -1}, "timeout_secs", "above 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(config: dict[str, Any], key: str, words: str) -> None:
    assert words in RabbitMQ().problems(config, "")[key]
