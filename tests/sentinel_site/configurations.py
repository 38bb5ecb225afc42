"""What the tests of the configuration share: files on the spot, and a production environment that is in order."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from cryptography.fernet import Fernet

from sentinel_site.config import Config, ConfigError, Problem, load_config

DEVELOPMENT = {"SENTINEL__ENVIRONMENT": "development"}
PRODUCTION = {
    "SENTINEL__SECURITY__SECRET_KEY": "k" * 30 + "0123456789" * 3,
    "SENTINEL__SECURITY__ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "SENTINEL__SECURITY__TOKEN_PEPPER": "p" * 20 + "0123456789" * 2,
    "INFLUXDB_TOKEN": "influx-4f1c",
    "RABBITMQ_PASSWORD": "rabbit-9d2e",
}


def written(folder: Path, text: str) -> Path:
    file = folder / "sentinel.yaml"
    file.write_text(dedent(text), encoding="utf-8")
    return file


def loaded(folder: Path, text: str = "", env: Mapping[str, str] = DEVELOPMENT) -> Config:
    return load_config(written(folder, text), env)


def refused(folder: Path, text: str = "", env: Mapping[str, str] = DEVELOPMENT) -> dict[str, Problem]:
    """The problems by key."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, env)
    return {problem.key: problem for problem in caught.value.problems}
