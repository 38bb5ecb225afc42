"""`config/sentinel.yaml`, the annotated file the product ships, agrees with the model."""

import re
from typing import Any

import pytest

from sentinel_site.config import load_config
from sentinel_site.config.catalogue import KEYS
from sentinel_site.config.document import read_document
from sentinel_site.config.loading import PROJECT_ROOT
from tests.sentinel_site.configurations import DEVELOPMENT, PRODUCTION

FILE = PROJECT_ROOT / "config" / "sentinel.yaml"
DOCUMENT = read_document(FILE)
LINES = FILE.read_text(encoding="utf-8").splitlines()
DEVIATIONS = {"ingestion.kafka.auto_offset_reset": ("latest", "earliest")}
"""Keys whose value in the file is not the default: (default, in the file). A comment of the file says why."""


def in_file(path: str) -> Any:
    found: Any = DOCUMENT.data
    for name in path.split("."):
        found = found[name]
    return found


def comment_of(path: str) -> str:
    """The comment on the key's line and on the lines right above it."""
    number = DOCUMENT.lines[path] - 1
    above = number
    while LINES[above - 1].strip().startswith("#"):
        above -= 1
    inline = re.sub(r'^[^#"]*("[^"]*"[^#"]*)*', "", LINES[number])
    return " ".join(line.strip().removeprefix("#").strip() for line in [*LINES[above:number], inline])


@pytest.mark.parametrize("path", KEYS)
def test_every_key_is_in_the_file_with_its_default_and_its_meaning(path: str) -> None:
    key = KEYS[path]
    if path in DEVIATIONS:
        default, value = DEVIATIONS[path]
        assert (key.default, in_file(path)) == (default, value)
        assert f"The default is {default}" in comment_of(path)
    elif key.secret:
        assert not in_file(path)  # a secret has no default and no place in a file
    else:
        default = list(key.default) if isinstance(key.default, tuple) else key.default
        assert in_file(path) == default
    assert key.description
    assert key.description in comment_of(path)


def test_the_file_loads_without_warning() -> None:
    config = load_config(FILE, DEVELOPMENT)
    assert config.origin.warnings == ()
    assert config.ingestion.kafka.auto_offset_reset == "earliest"


def test_the_file_serves_production_once_the_secrets_are_set() -> None:
    assert load_config(FILE, PRODUCTION).is_production
