"""Real receivers of each kind of channel, with targets that lead to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from alerting.channels.base import Target
from tests.alerting.factories import SECRET
from tests.alerting.mail import Office
from tests.alerting.rabbit import Broker
from tests.alerting.receivers import Receiver, Request


class Place(Protocol):
    """A real receiver of one kind of channel."""

    kind: str
    required: str
    """The setting that says where to send."""

    def target(self) -> Target: ...
    def target_at(self, port: int, host: str = "127.0.0.1", **config: Any) -> Target: ...
    def received(self) -> list[tuple[str, str]]:
        """The id of each message that came, and its title or body."""
        ...


@dataclass
class HttpPlace:
    """Kinds that post JSON; `url_is_secret` where the address is the credential."""

    kind: str
    hook: Receiver
    required: str = "url"
    url_is_secret: bool = False
    secret: str = SECRET
    extra: dict[str, Any] = field(default_factory=dict)
    url_key: str = "url"
    read: Callable[[Request], tuple[str, str]] = lambda request: (request.headers["webhook-id"], request.body.decode())

    def target(self) -> Target:
        return self.target_at(self.hook.port)

    def target_at(self, port: int, host: str = "127.0.0.1", **config: Any) -> Target:
        url = f"http://{host}:{port}/hook"
        values = {"timeout_secs": 2, **self.extra, **config}
        if self.url_is_secret:
            return Target("place", values, url)
        return Target("place", {self.url_key: url, **values}, self.secret)

    def received(self) -> list[tuple[str, str]]:
        return [self.read(request) for request in self.hook.requests]


def read_slack(request: Request) -> tuple[str, str]:
    block = json.loads(request.body)["blocks"][0]
    return block["block_id"], block["elements"][0]["elements"][0]["text"]


def read_pagerduty(request: Request) -> tuple[str, str]:
    payload = json.loads(request.body)["payload"]
    return payload["custom_details"]["delivery_id"], payload["summary"]


def read_teams(request: Request) -> tuple[str, str]:
    block = json.loads(request.body)["attachments"][0]["content"]["body"][0]
    return block["id"], block["inlines"][0]["text"]


def read_alertmanager(request: Request) -> tuple[str, str]:
    annotations = json.loads(request.body)[0]["annotations"]
    return annotations["delivery_id"], annotations["summary"]


@dataclass
class RabbitPlace:
    broker: Broker
    kind: str = "rabbitmq"
    required: str = "url"

    def target(self) -> Target:
        return self.broker.target()

    def target_at(self, port: int, host: str = "127.0.0.1", **config: Any) -> Target:
        target = self.target()
        return Target(target.name, target.config | {"url": f"amqp://{host}:{port}/"} | config, target.secret)

    def received(self) -> list[tuple[str, str]]:
        return [(found.properties["message_id"], found.body.decode()) for found in self.broker.drain()]


@dataclass
class MailPlace:
    office: Office
    kind: str = "email"
    required: str = "to"

    def target(self) -> Target:
        return self.target_at(self.office.port)

    def target_at(self, port: int, host: str = "127.0.0.1", **config: Any) -> Target:
        server = {"host": host.strip("[]"), "port": port, "security": "none", "username": "alerts", "timeout_secs": 2}
        people = {"to": ["oncall@example.com"], "from": "LLM-Sentinel <alerts@example.com>"}
        return Target("post", server | people | config, SECRET)

    def received(self) -> list[tuple[str, str]]:
        letters = [letter.message for letter in self.office.letters]
        return [(str(m["Message-ID"]).strip("<>").partition("@")[0], str(m["Subject"])) for m in letters]


BOT = {"url_key": "api_url", "extra": {"channel": "C0123ABCD"}, "secret": "xoxb-1-2-abcdefghijklmnop"}
HTTP_KINDS: dict[str, dict[str, Any]] = {
    "webhook": {"kind": "webhook"},
    "slack": {"kind": "slack", "url_is_secret": True, "required": "secret", "read": read_slack},
    "slack bot": {"kind": "slack", "required": "secret", "read": read_slack, **BOT},
    "pagerduty": {"kind": "pagerduty", "required": "secret", "read": read_pagerduty},
    "teams": {"kind": "teams", "url_is_secret": True, "required": "secret", "read": read_teams},
    "alertmanager": {"kind": "alertmanager", "read": read_alertmanager},
}
