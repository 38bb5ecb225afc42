"""E-mail: one message to a few addresses over SMTP, by the channel's own server or the one of the configuration."""

from __future__ import annotations

import re
import smtplib
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parseaddr
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import sanitize_address
from django.core.validators import validate_email
from django.template.loader import render_to_string

from alerting.channels.base import (
    TIMEOUT,
    Answer,
    DeliveryFailed,
    Message,
    Setting,
    Target,
    seconds_problem,
    unknown_keys,
)
from alerting.channels.posting import hide, send_seconds
from alerting.channels.smtp import Client, TLSClient, open_client
from alerting.channels.wording import links, mark
from alerting.rules.plain import one_line

SECURITY = ("starttls", "tls", "none")
PORTS = {"starttls": 587, "tls": 465, "none": 25}
HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
MAX_RECIPIENTS = 50
UNFIT_FOR_ADDRESS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Server:
    """The SMTP server to use; `trusted` where the configuration names it, which may then be anywhere."""

    host: str
    port: int
    security: str
    username: str
    password: str
    sender: str
    trusted: bool


class Email:
    """Plain text and HTML; mails about one group refer to one id, by which clients show them together."""

    name: ClassVar[str] = "email"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("to", "Recipients, one address a line.", type="lines", required=True),
        Setting("from", "Sender, as in LLM-Sentinel <alerts@example.com>; the configuration's if empty."),
        Setting("host", "SMTP server; the configuration's (alerting.email) if empty."),
        Setting("port", "Its port; 587 for starttls, 465 for tls, 25 for none if empty.", type="number"),
        Setting("security", "How the connection is encrypted.", type="choice", choices=SECURITY),
        Setting("username", "User name at the channel's own server, if it wants one."),
        TIMEOUT,
    )
    credential: ClassVar[str] = "The password at the channel's own server, if it wants one."

    def problems(self, config: dict[str, Any], secret: str) -> dict[str, str]:
        found = unknown_keys(config, self.settings) | seconds_problem(config, "timeout_secs")
        found |= _recipients_problem(config.get("to")) | _server_problem(config)
        sender = config.get("from") or settings.SENTINEL.alerting.email.from_address
        if not sender:
            found["from"] = "is required, because alerting.email.from_address is not set"
        elif not is_address(parseaddr(str(sender))[1]) or UNFIT_FOR_ADDRESS.search(str(sender)):
            found["from"] = "must be one address, as in LLM-Sentinel <alerts@example.com>"
        return found | ({"secret": "must be one line"} if UNFIT_FOR_ADDRESS.search(secret) else {})

    def send(self, target: Target, message: Message, at: datetime) -> Answer:
        problems = self.problems(target.config, target.secret)
        if problems:
            raise DeliveryFailed("; ".join(f"{key} {text}" for key, text in problems.items()), permanent=True)
        server = server_of(target)
        seconds = send_seconds(target.config)
        try:
            with open_client(server.host, server.port, server.security, server.trusted, seconds) as client:
                return _deliver(client, server, target.config["to"], mail(message, server, target.config["to"], at))
        except DeliveryFailed as failure:
            failure.args = (hide(server.password, str(failure)),)
            failure.answer = hide(server.password, failure.answer)
            raise


def is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def server_of(target: Target) -> Server:
    """The channel's own server, or the configuration's with its credentials."""
    config, site = target.config, settings.SENTINEL.alerting.email
    sender = config.get("from") or site.from_address or ""
    if not config.get("host"):
        password = site.password.get_secret_value() if site.password else ""
        return Server(site.host, site.port, site.security, site.username or "", password, sender, trusted=True)
    security = config.get("security", "starttls")
    port = int(config.get("port", PORTS[security]))
    user = config.get("username", "")
    return Server(config["host"], port, security, user, target.secret, sender, trusted=target.trusted)


def mail(message: Message, server: Server, recipients: list[str], at: datetime) -> EmailMultiAlternatives:
    """The mail of a message; its Message-ID is made of the delivery's id, the same over all attempts."""
    notice = message.notice
    _, sender = parseaddr(server.sender)
    domain = sender.rpartition("@")[2]
    group = f"<{notice.group_id}@{domain}>"
    headers = {
        "Date": format_datetime(at),
        "Message-ID": f"<{message.id}@{domain}>",
        "References": group,
        "In-Reply-To": group,
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "Importance": "high" if notice.severity == "critical" and not notice.is_resolved else "normal",
    }
    ways = links(notice)
    text = "\n\n".join([notice.text, *(f"{label}: {url}" for label, url in ways)])
    found = EmailMultiAlternatives(one_line(notice.title, 200), text, server.sender, recipients, headers=headers)
    shown = {"notice": notice, "mark": mark(notice), "links": ways}
    found.attach_alternative(render_to_string("alerting/mail.html", shown), "text/html")
    return found


def _deliver(
    client: Client | TLSClient, server: Server, recipients: list[str], letter: EmailMultiAlternatives
) -> Answer:
    try:
        if server.security == "starttls":
            client.starttls(context=ssl.create_default_context())
        if server.username:
            client.login(server.username, server.password)
        refused = client.sendmail(
            sanitize_address(server.sender, "utf-8"),
            [sanitize_address(recipient, "utf-8") for recipient in recipients],
            letter.message().as_bytes(linesep="\r\n"),
        )
    except (smtplib.SMTPException, OSError) as error:
        raise _failure(error) from None
    code, text = client.said
    return Answer(code, "; ".join([text, *(f"refused {name}: {_said(said)}" for name, said in refused.items())]))


def _failure(error: Exception) -> DeliveryFailed:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        text = "; ".join(f"{name}: {_said(said)}" for name, said in error.recipients.items())
        codes = [code for code, _ in error.recipients.values()]
        permanent = all(500 <= code < 600 for code in codes)
        return DeliveryFailed(
            "the server refuses every recipient", permanent=permanent, status_code=codes[0], answer=text
        )
    if isinstance(error, smtplib.SMTPResponseException):
        said = _said((error.smtp_code, error.smtp_error))
        code = error.smtp_code if 100 <= error.smtp_code < 600 else None
        permanent = 500 <= error.smtp_code < 600
        return DeliveryFailed(
            f"the server answered {error.smtp_code}", permanent=permanent, status_code=code, answer=said
        )
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return DeliveryFailed("the server hung up", permanent=False)
    return DeliveryFailed(f"{type(error).__name__}: {error}", permanent=False)


def _said(reply: tuple[int, bytes | str]) -> str:
    code, text = reply
    return f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"


def _recipients_problem(recipients: object) -> dict[str, str]:
    if not isinstance(recipients, list) or not recipients:
        return {"to": "is required: a list of addresses"}
    if len(recipients) > MAX_RECIPIENTS:
        return {"to": f"must not have more than {MAX_RECIPIENTS} addresses; use a list of your mail system"}
    wrong = [address for address in recipients if not isinstance(address, str) or not is_address(address)]
    return {"to": f"{wrong[0]!r} is no address"} if wrong else {}


def _server_problem(config: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    if not config.get("host"):
        if not settings.SENTINEL.alerting.email.host:
            found["host"] = "is required, because alerting.email.host is not set"
        for key in ("port", "security", "username"):
            if key in config:
                found[key] = "belongs to a server of the channel's own; give host, too"
        return found
    if not HOST.fullmatch(str(config["host"])):
        found["host"] = "must be a host name or an address"
    port = config.get("port", 587)
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        found["port"] = "must be a number from 1 to 65535"
    if config.get("security", "starttls") not in SECURITY:
        found["security"] = f"must be one of {', '.join(SECURITY)}"
    username = config.get("username", "")
    if not isinstance(username, str) or UNFIT_FOR_ADDRESS.search(username):
        found["username"] = "must be one line of text"
    return found
