"""What every kind of channel must do, whatever it talks to."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from alerting.channels import KINDS, setting_problems
from alerting.channels.base import ChannelKind, DeliveryFailed, Message, Target
from alerting.channels.wording import worded
from alerting.models import Channel
from tests.alerting.factories import NOW, SECRET, alerting_settings, anomaly_data, message, notice
from tests.alerting.mail import post_office
from tests.alerting.places import HTTP_KINDS, HttpPlace, MailPlace, Place, RabbitPlace
from tests.alerting.rabbit import Broker
from tests.alerting.receivers import answer, dripping, receiver
from tests.support import services


@pytest.fixture(params=sorted([*HTTP_KINDS, "rabbitmq", "email"]))
def place(request: pytest.FixtureRequest, loopback_allowed: None) -> Iterator[Place]:
    if request.param == "rabbitmq":
        with Broker.fresh(services.require("rabbitmq")) as broker:
            yield RabbitPlace(broker)
    elif request.param == "email":
        with post_office(alerts=SECRET) as office:
            yield MailPlace(office)
    else:
        with receiver(answer(200, b'{"ok":true,"ts":"1700000000.000100"}')) as hook:
            yield HttpPlace(hook=hook, **HTTP_KINDS[request.param])


@pytest.fixture
def kind(place: Place) -> ChannelKind:
    return KINDS[place.kind]


def told(place: Place, sent: Message) -> str:
    """What the receiver should read of a message: programs its body, people its title."""
    if place.kind in ("webhook", "rabbitmq"):
        return sent.body.decode()
    return f"🔴 {sent.notice.title}" if place.kind in ("slack", "teams") else sent.notice.title


def test_every_kind_people_can_choose_is_tried_here() -> None:
    tried = {values["kind"] for values in HTTP_KINDS.values()} | {"rabbitmq", "email"}
    assert tried == set(KINDS) == set(Channel.Kind.values)


def test_a_message_arrives_whole_and_under_its_id(place: Place, kind: ChannelKind) -> None:
    data = anomaly_data(title="Élévation de latence: 遅延 <b>")
    sent = message(b'{"data":{"title":"\xc3\xa9"}}', notice=notice(anomalies=(data,)))
    kind.send(place.target(), sent, NOW)
    assert place.received() == [(sent.id, told(place, sent))]


def test_every_attempt_carries_the_same_id(place: Place, kind: ChannelKind) -> None:
    sent: Message = message()
    for _ in range(3):
        kind.send(place.target(), sent, NOW)
    assert place.received() == [(sent.id, told(place, sent))] * 3


def test_nobody_there_is_a_failure_that_may_be_tried_again(place: Place, kind: ChannelKind) -> None:
    (port,) = services.free_ports(1)
    began = time.monotonic()
    with pytest.raises(DeliveryFailed) as caught:
        kind.send(place.target_at(port), message(), NOW)
    assert not caught.value.permanent
    assert time.monotonic() - began < 5


def test_somebody_who_never_speaks_is_left_within_the_time_limit(place: Place, kind: ChannelKind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = place.target_at(silent.getsockname()[1], timeout_secs=0.3)
        began = time.monotonic()
        with pytest.raises(DeliveryFailed) as caught:
            kind.send(target, message(), NOW)
        assert time.monotonic() - began < 3
    assert not caught.value.permanent


def test_somebody_who_says_one_byte_at_a_time_is_left_within_the_time_limit(place: Place, kind: ChannelKind) -> None:
    with dripping() as port:
        began = time.monotonic()
        with pytest.raises(DeliveryFailed) as caught:
            kind.send(place.target_at(port, timeout_secs=0.5), message(), NOW)
        assert time.monotonic() - began < 5
    assert not caught.value.permanent


def test_an_address_that_is_not_allowed_is_refused_for_good_and_not_connected_to(
    place: Place, kind: ChannelKind, settings: Settings
) -> None:
    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": ()})
    with receiver(answer(200)) as canary:
        with pytest.raises(DeliveryFailed, match="127") as caught:
            kind.send(place.target_at(canary.port), message(), NOW)
        assert canary.connections == 0
    assert caught.value.permanent


def test_no_error_and_no_representation_repeats_the_secret(place: Place, kind: ChannelKind) -> None:
    (port,) = services.free_ports(1)
    found = place.target_at(port)
    hidden = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    secret = f"{found.secret}?sig={hidden}" if found.secret.startswith("http") else f"xoxb-{hidden}"
    target = Target("x", found.config | ({"channel": "C1"} if place.kind == "slack" else {}), secret)
    with pytest.raises(DeliveryFailed) as caught:
        kind.send(target, message(), NOW)
    for text in (str(caught.value), repr(caught.value), caught.value.answer, repr(target)):
        assert "QUJDREVG" not in text


def test_names_that_mean_mischief_are_sent_as_text(place: Place, kind: ChannelKind) -> None:
    data = anomaly_data(service="<!channel>\r\nBcc: a@b.c", model="[x](http://evil)", labels={"a\r\nb": "\x1b[2J{{7}}"})
    changes = {"service": data.service, "anomaly_type": "x\ny"}
    told_of = worded(notice(anomalies=(data,), title="", text=""), "{{ anomaly.service }} {{ anomaly.model }}", "")
    kind.send(place.target(), message(notice=told_of, **changes), NOW)
    assert len(place.received()) == 1


def test_its_own_settings_are_good_and_an_unknown_one_is_named(place: Place, kind: ChannelKind) -> None:
    target = place.target()
    assert setting_problems(place.kind, target.config, target.secret) == {}
    wrong = setting_problems(place.kind, {**target.config, "colour": "red"}, target.secret)
    assert "allowed are" in wrong["colour"]


def test_every_setting_is_offered_with_its_meaning(place: Place, kind: ChannelKind) -> None:
    offered = {setting.name for setting in kind.settings}
    assert set(place.target().config) <= offered
    assert all(setting.help for setting in kind.settings)
    assert kind.credential


def test_settings_without_an_address_say_that_it_is_required(place: Place, kind: ChannelKind) -> None:
    assert "is required" in setting_problems(place.kind, {}, "")[place.required]
