"""What a channel kind is: settings it accepts, a message it sends, and errors that say whether trying again helps.

DeliveryFailed
└── AddressRefused (channels.addresses)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol

from alerting.rules.payload import AnomalyData

MAX_ANSWER_CHARACTERS = 2000
MAX_SEND_SECONDS = 15.0
"""No attempt takes longer, whatever a channel's own time-out says: the lease of a delivery counts on it."""


class DeliveryFailed(Exception):
    """One attempt failed. `permanent`: trying again cannot help. `gone`: the receiver wants nothing any more."""

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool,
        retry_after: float | None = None,
        status_code: int | None = None,
        answer: str = "",
        gone: bool = False,
    ) -> None:
        super().__init__(reason)
        self.permanent = permanent
        self.retry_after = retry_after
        self.status_code = status_code
        self.answer = answer[:MAX_ANSWER_CHARACTERS]
        self.gone = gone


class NoticeType(StrEnum):
    """Why a group of anomalies is told of."""

    OPENED = "opened"
    ESCALATED = "escalated"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told: one group of anomalies at one moment, in words and in data.

    `status` is `firing` or `resolved`. `group_id` stays the same over the group's life and `thread` is what this
    channel answered to the group's earlier messages (`Answer.thread`; "" at first), so that an end finds its
    beginning. `anomalies` are those this notice tells of, oldest first and perhaps not all `count` of them.
    `title` and `text` are empty until `wording.worded` has written them. An address that does not exist is "".
    """

    type: NoticeType
    status: str
    severity: str
    group_id: str
    anomalies: tuple[AnomalyData, ...]
    count: int
    title: str = ""
    text: str = ""
    thread: str = ""
    url: str = ""
    runbook_url: str = ""
    acknowledge_url: str = ""

    @property
    def is_resolved(self) -> bool:
        return self.status == "resolved"


@dataclass(frozen=True, slots=True)
class Message:
    """One alert as it leaves. `id` is the delivery's, the same over all attempts.

    `body` is what programs read (UTF-8 JSON), `notice` what people read.
    """

    id: str
    event: str
    occurred_at: datetime
    severity: str
    service: str
    anomaly_type: str
    body: bytes
    notice: Notice


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send: the settings of a channel with its secret in the clear.

    `trusted` is what the configuration file names, as opposed to what a person entered on a page.
    """

    name: str
    config: dict[str, Any]
    secret: str
    trusted: bool = False

    def __repr__(self) -> str:
        return f"Target({self.name!r})"  # never the secret: representations end up in logs


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said when it accepted: HTTP status or None, and the beginning of its text.

    `thread`, where not empty, is to come back in `Notice.thread` with the later messages of the group.
    """

    status_code: int | None
    text: str = ""
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a kind, as forms offer it: `lines` is a list of texts, `json` an object."""

    name: str
    help: str
    type: Literal["text", "number", "choice", "switch", "lines", "json"] = "text"
    required: bool = False
    choices: tuple[str, ...] = ()


TIMEOUT = Setting("timeout_secs", f"Seconds for one attempt in all, at most {MAX_SEND_SECONDS:g}.", type="number")


class ChannelKind(Protocol):
    """One way to reach people or programs. Every implementation faces `tests/alerting/test_channel_contract.py`."""

    name: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]]
    credential: ClassVar[str]

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        """What is wrong with settings a person entered: text per key of `config` (or "secret"); empty when fine."""
        ...

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        """One attempt at time `at`, over within `MAX_SEND_SECONDS` or twice that for a broker.

        Raises `DeliveryFailed`; nothing else is expected to leave it.
        """
        ...


def unknown_keys(config: dict[str, Any], allowed: tuple[Setting, ...]) -> dict[str, str]:
    """A problem for each key that no setting has."""
    names = [setting.name for setting in allowed]
    return {key: f"is no setting of this kind; allowed are {', '.join(names)}" for key in config if key not in names}


def seconds_problem(config: dict[str, Any], key: str) -> dict[str, str]:
    """A problem where `key` is given and is no number of seconds above 0 and up to `MAX_SEND_SECONDS`."""
    value = config.get(key, 1)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_SEND_SECONDS:
        return {}
    return {key: f"must be a number of seconds above 0 and at most {MAX_SEND_SECONDS:g}"}
