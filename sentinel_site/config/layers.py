"""The file and the environment, each as a flat layer of dotted keys; a later layer goes before an earlier one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sentinel_site.config.catalogue import KEYS, SECTIONS
from sentinel_site.config.document import Document
from sentinel_site.config.expansion import expand
from sentinel_site.config.fates import FATES, warning
from sentinel_site.config.problems import Problem, unknown_key
from sentinel_site.config.urls import split_credentials, with_credentials

CREDENTIALS_OF: dict[str, tuple[str | None, str]] = {
    "database.url": (None, "database.password"),
    "storage.redis.url": (None, "storage.redis.password"),
    "alerting.rabbitmq.url": ("alerting.rabbitmq.username", "alerting.rabbitmq.password"),
}
"""URLs that may carry credentials, and the keys (user name or None, password) that take them when they are read."""


@dataclass(frozen=True)
class Entry:
    value: Any
    place: str
    """File and line, or the environment variable."""
    fault: str = ""
    """Why the value cannot be used; it matters only when no later layer sets the key."""


@dataclass
class Layer:
    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unset: dict[str, str] = field(default_factory=dict)
    """Secrets that refer to a variable without a value, with that variable's name."""

    def put(self, path: str, value: Any, place: str) -> None:
        """Take a known key, following its fate."""
        fate = FATES.get(path)
        if fate is None or fate.kind == "used":
            self._put_once(path, Entry(value, place))
        elif fate.target:
            self._put_once(fate.target, Entry(value, f"{place} (as {path})"))
        elif text := warning(path, value):
            self.warnings.append(f"{place}: {path} {text}")

    def _put_once(self, path: str, entry: Entry) -> None:
        earlier = self.entries.get(path)
        if earlier and "(as " in earlier.place + entry.place:  # a key and another one that is mapped to it
            self.problems.append(Problem(entry.place, path, f"is set by {earlier.place} too; keep one"))
        self.entries[path] = entry

    def put_section(self, path: str, data: Mapping[str, Any], place_of: Callable[[str], str]) -> None:
        """Take every key of a section, in any depth; one that does not exist is a problem."""
        for name, value in data.items():
            dotted = f"{path}.{name}".lstrip(".")
            if dotted in KEYS or dotted in FATES:
                self.put(dotted, value, place_of(dotted))
            elif dotted not in SECTIONS:
                self.problems.append(Problem(place_of(dotted), dotted, unknown_key(dotted)))
            elif isinstance(value, Mapping):
                self.put_section(dotted, value, place_of)
            elif value is not None:  # a section whose keys are all commented out is null
                self.problems.append(Problem(place_of(dotted), dotted, "is a section and must hold keys"))

    def settle(self) -> None:
        """Move credentials out of URLs and drop what is empty, so that the layers below show through."""
        for path, (user_key, password_key) in CREDENTIALS_OF.items():
            if path in self.entries and isinstance(self.entries[path].value, str):
                self._move_credentials(path, user_key, password_key)
        self.entries = {path: entry for path, entry in self.entries.items() if entry.fault or not _empty(path, entry)}

    def _move_credentials(self, path: str, user_key: str | None, password_key: str) -> None:
        entry = self.entries[path]
        url, user, password = split_credentials(entry.value)
        self.entries[path] = replace(entry, value=url if user_key else with_credentials(url, user, None))
        for key, value in ((user_key, user), (password_key, password)):
            if key and value:
                self.entries[key] = replace(entry, value=value)


def _empty(path: str, entry: Entry) -> bool:
    key = KEYS[path]
    return entry.value in (None, "", [], ()) and (key.secret or key.default is None)


def file_layer(document: Document, env: Mapping[str, str]) -> Layer:
    """The file's keys with `${VAR}` expanded."""
    layer = Layer(problems=list(document.problems))
    layer.put_section("", document.data, document.place)
    layer.entries = {path: _expanded(path, entry, env, layer.unset) for path, entry in layer.entries.items()}
    layer.settle()
    return layer


def _expanded(path: str, entry: Entry, env: Mapping[str, str], unset_secrets: dict[str, str]) -> Entry:
    try:
        value, unset = _expand_value(entry.value, env)
    except ValueError as error:
        return replace(entry, fault=str(error))
    if not unset:
        return replace(entry, value=value)
    if KEYS[path].secret:
        unset_secrets[path] = unset[0]
        return replace(entry, value=[part for part in value if part] if isinstance(value, list) else None)
    names = ", ".join(f"${{{name}}}" for name in unset)
    return replace(entry, fault=f"refers to {names}, which is not set; set it, or write ${{{unset[0]}:-default}}")


def _expand_value(value: Any, env: Mapping[str, str]) -> tuple[Any, list[str]]:
    if isinstance(value, str):
        expansion = expand(value, env)
        return expansion.text, list(expansion.unset)
    if isinstance(value, list):
        parts = [_expand_value(part, env) for part in value]
        return [part for part, _ in parts], [name for _, names in parts for name in names]
    if isinstance(value, dict):
        pairs = {name: _expand_value(part, env) for name, part in value.items()}
        return {name: part for name, (part, _) in pairs.items()}, [
            name for _, unset in pairs.values() for name in unset
        ]
    return value, []
