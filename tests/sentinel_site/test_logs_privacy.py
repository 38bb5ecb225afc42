"""What errors quote does not bring private data into the logs."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Iterator
from io import StringIO
from types import SimpleNamespace

import pytest

from sentinel_site.logs import logging_settings

SECRET = "sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12"


@pytest.fixture(params=[True, False])
def written(request: pytest.FixtureRequest) -> Iterator[StringIO]:
    settings = logging_settings(SimpleNamespace(json_lines=request.param, level="info"))
    formatter = settings["formatters"]["structured"]
    handler = logging.StreamHandler(out := StringIO())
    handler.setFormatter(formatter["()"](**{key: value for key, value in formatter.items() if key != "()"}))
    logger = logging.getLogger("tests.privacy")
    logger.addHandler(handler)
    yield out
    logger.removeHandler(handler)


def test_messages_hold_no_private_data_but_the_addresses_of_machines(written: StringIO) -> None:
    logging.getLogger("tests.privacy").error("401 for %s of ada@example.com at 10.0.0.7:9092", SECRET)
    line = written.getvalue()
    assert SECRET not in line
    assert "ada@example.com" not in line
    assert "[api_key] of [email] at 10.0.0.7:9092" in line


def test_tracebacks_of_json_lines_hold_no_private_data(written: StringIO) -> None:
    try:
        raise ValueError(f"bad key {SECRET}")
    except ValueError:
        logging.getLogger("tests.privacy").exception("failed")
    line = written.getvalue()
    if line.startswith("{"):
        assert "bad key [api_key]" in json.loads(line)["exception"]
        assert SECRET not in line
