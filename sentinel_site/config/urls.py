"""Credentials in URLs: taken out when read, put in when a client needs them, masked when shown."""

import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import SecretStr

_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@:\s]*):([^/@\s]*)@")


def split_credentials(url: str) -> tuple[str, str | None, str | None]:
    """The URL without user and password, and these, percent-decoded, or None. Not a URL: returned as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, None, None
    location = parts.netloc.rpartition("@")[2]
    bare = url.replace(parts.netloc, location, 1) if parts.netloc else url
    return bare, unquote(parts.username or "") or None, unquote(parts.password or "") or None


def with_credentials(url: str, username: str | None, password: SecretStr | None) -> str:
    """The URL with a password and, unless it names a user itself, the user name, both percent-encoded."""
    parts = urlsplit(url)
    user = parts.username or quote(username or "", safe="")
    secret = quote(password.get_secret_value(), safe="") if password else None
    if not user and secret is None:
        return url
    location = parts.netloc.rpartition("@")[2]
    credentials = user if secret is None else f"{user}:{secret}"
    return urlunsplit(parts._replace(netloc=f"{credentials}@{location}"))


def mask_password(text: str) -> str:
    """The text with the password of every URL in it replaced by asterisks."""
    return _PASSWORD_IN_URL.sub(r"\1:********@", text)
