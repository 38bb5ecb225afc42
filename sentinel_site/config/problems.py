"""What is wrong with a configuration, in words an operator can act on.

ConfigError     carries every Problem found, so that one round of corrections suffices
"""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from sentinel_site.config.catalogue import KEYS, SECTIONS, fields_of
from sentinel_site.config.urls import mask_password

MASK = "********"
_LONGEST_VALUE_SHOWN = 80


@dataclass(frozen=True)
class Problem:
    place: str
    """File and line, or the environment variable; empty when nothing was set anywhere."""
    key: str
    """Dotted; empty when it is not about a key."""
    message: str
    """What is wrong and what is allowed."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.key, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says why, all at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        title = f"The configuration has {count} problem{'s' if count != 1 else ''}:"
        return "\n".join([title, *(f"  {problem}" for problem in self.problems)])


def unknown_key(path: str) -> str:
    """The message for a key that does not exist, with what was probably meant and what exists beside it."""
    parent, _, name = path.rpartition(".")
    siblings = list(fields_of(SECTIONS[parent]))
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    meant = _same_name(name, at_most=2) or [f"{parent}.{sibling}".lstrip(".") for sibling in near] or _elsewhere(path)
    return f"no such key{_did_you_mean(meant)} Allowed here: {', '.join(siblings)}"


def unknown_variable(path: str) -> str:
    """The message for an environment variable whose dotted `path` does not exist."""
    meant = _elsewhere(path) or difflib.get_close_matches(path, KEYS, n=1, cutoff=0.6)
    names = ["SENTINEL__" + known.upper().replace(".", "__") for known in meant]
    return f"names no key of the configuration{_did_you_mean(names)}"


def _did_you_mean(candidates: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(candidates)}?" if candidates else "."


def _same_name(name: str, at_most: int) -> list[str]:
    """Keys and sections called `name`, unless they are so many that none stands out."""
    found = [known for known in (*KEYS, *SECTIONS) if known and known.rpartition(".")[2] == name]
    return found if len(found) <= at_most else []


def _elsewhere(path: str) -> list[str]:
    by_name = _same_name(path.rpartition(".")[2], at_most=3)
    return by_name or difflib.get_close_matches(path, [*KEYS, *SECTIONS], n=1, cutoff=0.8)


def split_location(location: Sequence[int | str]) -> tuple[str, str]:
    """Pydantic's location as (dotted key, "[2]"-like rest)."""
    for length in range(len(location), 0, -1):
        path = ".".join(str(part) for part in location[:length])
        if path in KEYS or path in SECTIONS:
            indices = [f"[{part}]" for part in location[length:] if isinstance(part, int)]
            return path, "".join(indices)
    return ".".join(str(part) for part in location), ""


def describe(error: ErrorDetails) -> str:
    """One error of pydantic in this project's words, with the value unless it is secret."""
    path, index = split_location(error["loc"])
    message = _message(error)
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        message += " (put it in quotes)"
    secret = path in KEYS and KEYS[path].secret
    value = "" if secret or error["input"] is None else f"; it is {shown(error['input'])}"
    return f"{index + ' ' if index else ''}{message}{value}"


_MESSAGES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}


def _message(error: ErrorDetails) -> str:
    if error["type"] == "literal_error":
        return f"must be {error['ctx']['expected']}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    message = error["msg"].replace("Input should be", "must be").replace("Input should have", "must have")
    return _MESSAGES.get(error["type"], message[:1].lower() + message[1:])


def shown(value: Any) -> str:
    """A value for a message: as JSON, short, no password in it."""
    text = mask_password(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= _LONGEST_VALUE_SHOWN else text[: _LONGEST_VALUE_SHOWN - 1] + "…"
