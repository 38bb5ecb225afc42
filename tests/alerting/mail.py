"""A real SMTP server on loopback that keeps what it is sent, and answers as told."""

from __future__ import annotations

import contextlib
import email
import email.policy
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support import services


@dataclass
class Letter:
    """One mail as it arrived: the envelope and the message."""

    sender: str
    recipients: list[str]
    message: EmailMessage

    def part(self, kind: str) -> str:
        """The text of the part `plain` or `html`."""
        found = self.message.get_body((kind,))
        assert found is not None
        return str(found.get_content())


@dataclass
class Office:
    """Takes mails; `replies` are what it says to a command instead, by name ("RCPT", "DATA") or by recipient."""

    port: int
    letters: list[Letter] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    logins: list[str] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 (named by aiosmtpd)
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if self.users and not session.authenticated:
            return "530 5.7.0 Authentication required"
        reply = self.replies.get(address) or self.replies.get("RCPT")
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        if "DATA" in self.replies:
            return self.replies["DATA"]
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.letters.append(Letter(str(envelope.mail_from), list(envelope.rcpt_tos), message))
        return "250 queued as 4711"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _kind: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        user = data.login.decode()
        self.logins.append(user)
        return AuthResult(success=self.users.get(user) == data.password.decode(), handled=False)


@contextlib.contextmanager
def post_office(*, tls: str = "none", certificate: Path | None = None, **users: str) -> Iterator[Office]:
    """A server while the block runs, with `tls` as the channel's `security`; it wants a login where it has users."""
    (port,) = services.free_ports(1)
    office = Office(port, users=users)
    options: dict[str, Any] = {"authenticator": office.authenticate}
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    if tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    else:
        options["auth_require_tls"] = False
    running = Controller(
        office, hostname="127.0.0.1", port=port, ssl_context=context if tls == "tls" else None, **options
    )
    running.start()
    try:
        yield office
    finally:
        running.stop()
