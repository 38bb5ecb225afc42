"""E-mail over real SMTP: what arrives, and how servers refuse."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from pytest_django import Settings

from alerting.channels.base import Answer, DeliveryFailed, Target
from alerting.channels.email import Email
from tests.alerting.factories import LOOPBACK, NOW, alerting_settings, message, notice
from tests.alerting.mail import Letter, Office, post_office

pytestmark = pytest.mark.usefixtures("loopback_allowed")


def send(office: Office, secret: str = "", config: dict[str, Any] | None = None, **changes: Any) -> Answer:
    server = {"host": "127.0.0.1", "port": office.port, "security": "none", "timeout_secs": 3}
    people = {"to": ["oncall@example.com"], "from": "LLM-Sentinel <alerts@example.com>"}
    target = Target("post", server | people | (config or {}), secret)
    return Email().send(target, message(notice=notice(**changes)), NOW)


def letter(**changes: Any) -> Letter:
    with post_office() as office:
        send(office, **changes)
    (found,) = office.letters
    return found


def test_a_mail_has_a_subject_a_text_and_a_page() -> None:
    found = letter(runbook_url="https://wiki.example/r")
    assert (found.sender, found.recipients) == ("alerts@example.com", ["oncall@example.com"])
    assert found.message["Subject"] == "Latency spike in chat-api (gpt-4)"
    assert found.message["From"] == "LLM-Sentinel <alerts@example.com>"
    assert found.message["Importance"] == "high"
    assert found.message["Auto-Submitted"] == "auto-generated"
    assert "Runbook: https://wiki.example/r" in found.part("plain")
    assert '<a href="https://wiki.example/r">Runbook</a>' in found.part("html")


def test_all_mails_about_a_group_refer_to_one_id() -> None:
    first, last = letter(), letter(status="resolved")
    group = "<0190c2f0-0000-5000-8000-0000000000aa@example.com>"
    assert first.message["References"] == last.message["References"] == group
    assert first.message["Message-ID"] != last.message["Message-ID"]


def test_names_are_text_in_the_subject_and_on_the_page() -> None:
    found = letter(title="a\r\nBcc: evil@example.com", text="<script>alert(1)</script>\u2028é")
    assert found.message["Subject"] == "a Bcc: evil@example.com"
    assert found.message["Bcc"] is None
    assert found.recipients == ["oncall@example.com"]
    assert "&lt;script&gt;" in found.part("html")
    assert "<script>" not in found.part("html")


def test_a_line_of_one_dot_does_not_end_the_mail() -> None:
    assert "\n.\nQUIT" in letter(text="one\n.\nQUIT\n").part("plain").replace("\r\n", "\n")


def test_an_address_beyond_ascii_is_reached() -> None:
    assert letter(config={"to": ["oncall@bücher.example"]}).recipients == ["oncall@xn--bcher-kva.example"]


def test_the_servers_answer_is_told() -> None:
    with post_office() as office:
        said = send(office)
    assert (said.status_code, said.text) == (250, "250 queued as 4711")


@pytest.mark.parametrize(
    ("command", "reply", "permanent"),
    [
        ("RCPT", "550 no such user", True),
        ("RCPT", "451 greylisted, come back", False),
        ("DATA", "552 too big", True),
        ("DATA", "452 no space left", False),
    ],
)
def test_a_refusal_says_whether_trying_again_helps(command: str, reply: str, permanent: bool) -> None:
    with post_office() as office:
        office.replies[command] = reply
        with pytest.raises(DeliveryFailed) as caught:
            send(office)
    assert (caught.value.permanent, caught.value.status_code) == (permanent, int(reply[:3]))
    assert reply in caught.value.answer


def test_one_refused_recipient_among_good_ones_is_told_and_costs_the_others_nothing() -> None:
    with post_office() as office:
        office.replies["gone@example.com"] = "550 no such user"
        said = send(office, config={"to": ["oncall@example.com", "gone@example.com"]})
    assert office.letters[0].recipients == ["oncall@example.com"]
    assert said.text == "250 queued as 4711; refused gone@example.com: 550 no such user"


def test_user_and_password_are_used_and_a_wrong_password_is_not_repeated() -> None:
    with post_office(robot="s3cret-word") as office:
        send(office, "s3cret-word", {"username": "robot"})
        with pytest.raises(DeliveryFailed) as caught:
            send(office, "wrong-word", {"username": "robot"})
    assert office.logins[0] == "robot"
    assert caught.value.permanent
    assert "wrong-word" not in str(caught.value) + caught.value.answer


def test_the_server_of_the_configuration_is_used_where_the_channel_names_none(settings: Settings) -> None:
    with post_office(site="pw-of-the-site") as office:
        email = {"host": "localhost", "port": office.port, "security": "none", "username": "site"}
        email |= {"password": SecretStr("pw-of-the-site"), "from_address": "sentinel@example.com"}
        # Trusted: its address need not be allowed.
        settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": ()}, email=email)
        Email().send(Target("post", {"to": ["a@example.com"]}, ""), message(), NOW)
    assert office.letters[0].sender == "sentinel@example.com"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "mail.pem"
    path.write_bytes(key.private_bytes(*private) + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_encrypted_connection_is_used_where_the_certificate_is_trusted(
    security: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with post_office(tls=security, certificate=certificate) as office:
        with pytest.raises(DeliveryFailed, match="CERTIFICATE_VERIFY_FAILED") as caught:
            send(office, config={"security": security})
        assert not caught.value.permanent
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send(office, config={"security": security})
    assert len(office.letters) == 1


def test_a_server_that_offers_no_encryption_gets_no_mail_and_no_password() -> None:
    with post_office(robot="s3cret-word") as office, pytest.raises(DeliveryFailed, match="STARTTLS"):
        send(office, "s3cret-word", {"security": "starttls", "username": "robot"})
    assert (office.letters, office.logins) == ([], [])


@pytest.fixture
def endless() -> Iterator[int]:
    """The port of a server whose greeting has no end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                while True:
                    connection.sendall(b"220-welcome\r\n" * 1000)
            except OSError:
                return

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()
    thread.join(timeout=5)


def test_a_greeting_without_end_is_taken_for_a_server_that_hung_up(endless: int) -> None:
    with pytest.raises(DeliveryFailed, match="hung up") as caught:
        send(Office(endless))
    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({"to": []}, "to", "required"),
        ({"to": "a@example.com"}, "to", "list"),
        ({"to": ["nobody"]}, "to", "'nobody' is no address"),
        ({"to": ["a@example.com"] * 51}, "to", "50"),
        ({"from": "nobody"}, "from", "one address"),
        ({"from": ""}, "from", "alerting.email.from_address"),
        ({"host": ""}, "host", "alerting.email.host"),
        ({"host": "a b"}, "host", "host name"),
        ({"port": 0}, "port", "65535"),
        ({"port": True}, "port", "65535"),
        ({"security": "ssl"}, "security", "starttls, tls, none"),
    ],
)
def test_settings_that_cannot_work_are_refused(config: dict[str, Any], key: str, words: str) -> None:
    good = {"to": ["a@example.com"], "from": "a@example.com", "host": "mail.example"}
    assert Email().problems(good, "") == {}
    assert words in Email().problems(good | config, "")[key]


def test_the_guard_judges_the_address_of_a_mail_server(settings: Settings) -> None:
    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": ()})
    with post_office() as office, pytest.raises(DeliveryFailed, match="loopback") as caught:
        send(office)
    assert caught.value.permanent
    settings.SENTINEL = alerting_settings(webhook={"allowed_private_networks": LOOPBACK})
