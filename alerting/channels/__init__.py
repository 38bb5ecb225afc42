"""The ways to reach people and programs, one file each."""

from __future__ import annotations

from alerting.channels.alertmanager import Alertmanager
from alerting.channels.base import ChannelKind
from alerting.channels.email import Email
from alerting.channels.pagerduty import PagerDuty
from alerting.channels.rabbitmq import RabbitMQ
from alerting.channels.slack import Slack
from alerting.channels.teams import Teams
from alerting.channels.webhook import Webhook

KINDS: dict[str, ChannelKind] = {
    kind.name: kind for kind in (RabbitMQ(), Webhook(), Slack(), PagerDuty(), Teams(), Email(), Alertmanager())
}


def kind_named(name: str) -> ChannelKind:
    """The kind of that name. Raises `KeyError` with the names there are."""
    try:
        return KINDS[name]
    except KeyError:
        raise KeyError(f"{name!r} is no kind of channel; there are {', '.join(sorted(KINDS))}") from None


def setting_problems(kind: str, config: object, secret: str) -> dict[str, str]:
    """What is wrong with the settings of a channel, by key; "config" and "kind" stand for the whole."""
    if kind not in KINDS:
        return {"kind": f"{kind!r} is no kind of channel; there are {', '.join(sorted(KINDS))}"}
    if not isinstance(config, dict):
        return {"config": "must be an object of settings"}
    return KINDS[kind].problems(config, secret)
