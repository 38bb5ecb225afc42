"""What the tests of OTLP's doors share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_django import Settings


@pytest.fixture
def otlp(settings: Settings) -> Callable[..., None]:
    """Changes keys of `ingestion.otlp`: call it with them."""

    def change(**keys: object) -> None:
        section = settings.SENTINEL.ingestion.otlp.model_copy(update=keys)
        ingestion = settings.SENTINEL.ingestion.model_copy(update={"otlp": section})
        settings.SENTINEL = settings.SENTINEL.model_copy(update={"ingestion": ingestion})

    return change
