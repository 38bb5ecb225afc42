"""What every kind of channel must do, whatever it talks to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from alerting.channels import KINDS, setting_problems
from alerting.channels.base import ChannelKind, DeliveryFailed, Message, Target
from alerting.models import Channel
from tests.alerting.factories import NOW, SECRET, message
from tests.alerting.rabbit import Broker
from tests.alerting.receivers import Receiver, answer, receiver
from tests.support import services


class Place(Protocol):
    """A real receiver of one kind of channel."""

    kind: str

    def target(self) -> Target: ...
    def received(self) -> list[tuple[str, bytes]]: ...


@dataclass
class WebhookPlace:
    hook: Receiver
    kind: str = "webhook"

    def target(self) -> Target:
        return Target("hook", {"url": self.hook.url, "timeout_secs": 2}, SECRET)

    def received(self) -> list[tuple[str, bytes]]:
        return [(request.headers["webhook-id"], request.body) for request in self.hook.requests]


@dataclass
class RabbitPlace:
    broker: Broker
    kind: str = "rabbitmq"

    def target(self) -> Target:
        return self.broker.target()

    def received(self) -> list[tuple[str, bytes]]:
        return [(found.properties["message_id"], found.body) for found in self.broker.drain()]


@pytest.fixture(params=sorted(KINDS))
def place(request: pytest.FixtureRequest, loopback_allowed: None) -> Iterator[Place]:
    if request.param == "webhook":
        with receiver(answer(200, b"ok")) as hook:
            yield WebhookPlace(hook)
    else:
        with Broker.fresh(services.require("rabbitmq")) as broker:
            yield RabbitPlace(broker)


@pytest.fixture
def kind(place: Place) -> ChannelKind:
    return KINDS[place.kind]


def elsewhere(target: Target, **config: Any) -> Target:
    return Target(target.name, target.config | config, target.secret)


def test_there_is_a_place_for_every_kind_people_can_choose() -> None:
    assert set(KINDS) <= set(Channel.Kind.values)


def test_a_message_arrives_whole_and_under_its_id(place: Place, kind: ChannelKind) -> None:
    sent = message(b'{"data":{"title":"\xc3\xa9"}}')
    kind.send(place.target(), sent, NOW)
    assert place.received() == [(sent.id, sent.body)]


def test_every_attempt_carries_the_same_id(place: Place, kind: ChannelKind) -> None:
    sent: Message = message()
    for _ in range(3):
        kind.send(place.target(), sent, NOW)
    assert place.received() == [(sent.id, sent.body)] * 3


def test_nobody_there_is_a_failure_that_may_be_tried_again(place: Place, kind: ChannelKind) -> None:
    (port,) = services.free_ports(1)
    scheme = urlsplit(place.target().config["url"]).scheme
    began = time.monotonic()
    with pytest.raises(DeliveryFailed) as caught:
        kind.send(elsewhere(place.target(), url=f"{scheme}://127.0.0.1:{port}/"), message(), NOW)
    assert not caught.value.permanent
    assert time.monotonic() - began < 5


def test_somebody_who_never_speaks_is_left_within_the_time_limit(place: Place, kind: ChannelKind) -> None:
    import socket

    scheme = urlsplit(place.target().config["url"]).scheme
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
        began = time.monotonic()
        with pytest.raises(DeliveryFailed) as caught:
            kind.send(elsewhere(place.target(), url=url, timeout_secs=0.3), message(), NOW)
        assert time.monotonic() - began < 3
    assert not caught.value.permanent


def test_an_address_that_is_not_allowed_is_refused_for_good(
    place: Place, kind: ChannelKind, settings: Settings
) -> None:
    from tests.alerting.factories import alerting_settings

    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": ()})
    with pytest.raises(DeliveryFailed, match="127") as caught:
        kind.send(place.target(), message(), NOW)
    assert caught.value.permanent
    assert place.received() == []


def test_no_error_and_no_representation_repeats_the_secret(place: Place, kind: ChannelKind) -> None:
    (port,) = services.free_ports(1)
    scheme = urlsplit(place.target().config["url"]).scheme
    hidden = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    target = Target("x", place.target().config | {"url": f"{scheme}://127.0.0.1:{port}/"}, hidden)
    with pytest.raises(DeliveryFailed) as caught:
        kind.send(target, message(), NOW)
    for text in (str(caught.value), repr(caught.value), caught.value.answer, repr(target)):
        assert hidden not in text
        assert "QUJDREVG" not in text


def test_its_own_settings_are_good_and_an_unknown_one_is_named(place: Place, kind: ChannelKind) -> None:
    assert setting_problems(place.kind, place.target().config, SECRET) == {}
    assert "allowed are" in setting_problems(place.kind, {**place.target().config, "colour": "red"}, SECRET)["colour"]


def test_settings_without_an_address_say_that_it_is_required(place: Place, kind: ChannelKind) -> None:
    assert "is required" in setting_problems(place.kind, {}, SECRET)["url"]
