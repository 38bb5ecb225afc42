"""Secrets at rest: a text field that the database only ever sees encrypted."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured(
            "security.encryption_keys is empty: channel secrets cannot be stored. "
            "Set SENTINEL__SECURITY__ENCRYPTION_KEYS to a JSON list of Fernet keys, newest first."
        )
    return MultiFernet([Fernet(key) for key in keys])


def cipher() -> MultiFernet:
    """Encrypts with the newest key, decrypts with any: a key is retired after every secret was written again."""
    return _cipher(tuple(settings.ENCRYPTION_KEYS))


class EncryptedTextField(models.TextField):
    """Text that is encrypted (Fernet: AES-128-CBC with HMAC-SHA256) on its way to the database.

    It cannot be searched. Reading a value that none of the keys opens raises `ImproperlyConfigured`, because an
    empty secret would sign alerts with a key everybody knows.
    """

    def get_prep_value(self, value: Any) -> Any:
        if not value:
            return value
        return cipher().encrypt(str(value).encode()).decode("ascii")

    def from_db_value(self, value: str | None, _expression: object, _connection: object) -> str | None:
        if not value:
            return value
        try:
            return cipher().decrypt(value.encode("ascii")).decode()
        except InvalidToken:
            raise ImproperlyConfigured(
                "a stored secret was encrypted with a key that is not in security.encryption_keys; "
                "put the former key back behind the new one"
            ) from None
