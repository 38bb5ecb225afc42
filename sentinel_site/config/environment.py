"""Environment variables as a layer: `SENTINEL__SECTION__KEY`, the short names, and `…_FILE` for secrets."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel_site.config.catalogue import KEYS, PREFIX, SECTIONS, SPEC_VARIABLES
from sentinel_site.config.fates import FATES
from sentinel_site.config.layers import Layer
from sentinel_site.config.problems import Problem, unknown_variable

_FILE = "_FILE"


@dataclass(frozen=True)
class Variable:
    name: str
    path: str
    """The dotted key it sets, which need not exist."""
    names_file: bool
    """Whether it holds the name of a file that holds the value."""

    @property
    def rank(self) -> tuple[bool, int]:
        """Later ones win: short names, then whole sections, then single keys."""
        return self.path == _long_path(self.name.removesuffix(_FILE)), self.path.count(".")


def environment_layer(env: Mapping[str, str]) -> Layer:
    """What the environment sets. An empty variable counts as unset, because compose files make those."""
    layer = Layer()
    for variable in sorted(_variables(env), key=lambda variable: variable.rank):
        try:
            _put(layer, variable, _text(variable, env))
        except ValueError as error:
            path = variable.path if variable.path in KEYS else ""
            layer.problems.append(Problem(variable.name, path, str(error)))
    layer.settle()
    return layer


def _variables(env: Mapping[str, str]) -> Iterator[Variable]:
    for name, value in env.items():
        stem = name.removesuffix(_FILE)
        of_file = _path(stem) if stem != name else None
        if not value:
            continue
        if of_file and of_file in KEYS and KEYS[of_file].secret:
            yield Variable(name, of_file, names_file=True)
        elif path := _path(name):
            yield Variable(name, path, names_file=False)


def _path(name: str) -> str | None:
    return SPEC_VARIABLES.get(name) or _long_path(name)


def _long_path(name: str) -> str | None:
    return name.removeprefix(PREFIX).lower().replace("__", ".") if name.startswith(PREFIX) else None


def _text(variable: Variable, env: Mapping[str, str]) -> str:
    if not variable.names_file:
        return env[variable.name]
    stem = variable.name.removesuffix(_FILE)
    if env.get(stem):
        raise ValueError(f"is set together with {stem}; keep one")
    try:
        return Path(env[variable.name]).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ValueError(f"names {env[variable.name]}, which cannot be read: {reason}") from None


def _put(layer: Layer, variable: Variable, text: str) -> None:
    path = variable.path
    if path in KEYS:
        layer.put(path, _value(path, text), variable.name)
    elif path in FATES:
        layer.put(path, {"true": True, "false": False}.get(text.lower(), text), variable.name)
    elif path in SECTIONS:
        layer.put_section(path, _mapping(text), lambda _: variable.name)
    else:
        raise ValueError(unknown_variable(path))


def _value(path: str, text: str) -> Any:
    key = KEYS[path]
    if not key.structured:
        return text
    if key.secret and not text.lstrip().startswith("["):  # a file of keys, one a line
        return re.split(r"[\s,]+", text.strip())
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError('must be JSON, such as ["a", "b"] or {"name": "value"}') from None


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise ValueError('is a section: give a JSON object such as {"key": "value"}, or a variable for each key')
    return data
