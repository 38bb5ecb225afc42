"""What is wrong with the JSON that people write into rows, as the pure parsers of `alerting.rules` see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def problems_of(*parts: tuple[Callable[[Any], Any], str, Any]) -> dict[str, list[str]]:
    """What each parser says about the value of its field (parser, field, value); empty where all is well."""
    found: dict[str, list[str]] = {}
    for parse, field, value in parts:
        try:
            parse(value)
        except ValueError as error:
            found[field] = [str(error)]
    return found
