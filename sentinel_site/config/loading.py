"""From file and environment to one checked `Config`, or to a `ConfigError` that lists everything that is wrong."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sentinel_site.config.catalogue import KEYS
from sentinel_site.config.document import Document, read_document
from sentinel_site.config.environment import environment_layer
from sentinel_site.config.fates import FATES, warning
from sentinel_site.config.layers import Entry, Layer, file_layer
from sentinel_site.config.model import Config, Origin
from sentinel_site.config.policy import findings, value_at
from sentinel_site.config.problems import ConfigError, Problem, describe, split_location

PROJECT_ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
STANDARD_FILES = (PROJECT_ROOT / "config" / "sentinel.yaml", Path("/etc/sentinel/sentinel.yaml"))


def load_config(path: Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """The configuration: environment over file over default.

    The file is `path`, else the one SENTINEL_CONFIG names, else the first of STANDARD_FILES that exists, else none.
    `env` stands for the process's environment. Raises ConfigError with all problems.
    """
    env = os.environ if env is None else env
    file = find_file(path, env)
    document = read_document(file) if file else Document(Path("no file"), {})
    layers = (file_layer(document, env), environment_layer(env))
    entries = {key: entry for layer in layers for key, entry in layer.entries.items()}
    problems = [problem for layer in layers for problem in layer.problems]
    problems += [Problem(entry.place, key, entry.fault) for key, entry in entries.items() if entry.fault]
    config, invalid = _validate({key: entry for key, entry in entries.items() if not entry.fault})
    problems += invalid
    problems += _policy_problems(config, entries, layers[0], problems)
    if problems:
        raise ConfigError(problems)
    warnings = [text for layer in layers for text in layer.warnings] + list(_warnings(config, entries))
    places = {key: entry.place for key, entry in entries.items()}
    return config.with_origin(Origin(file, places, tuple(warnings)))


def find_file(path: Path | None, env: Mapping[str, str]) -> Path | None:
    """The configuration file by the order above. Raises ConfigError when one that was asked for does not exist."""
    if path is None and env.get("SENTINEL_CONFIG"):
        path = Path(env["SENTINEL_CONFIG"])
        if not path.is_file():
            raise ConfigError([Problem("SENTINEL_CONFIG", "", f"names {path}, which is not a file")])
    if path is None:
        return next((file for file in STANDARD_FILES if file.is_file()), None)
    if not path.is_file():
        raise ConfigError([Problem(str(path), "", "is not a file")])
    return path


def _validate(entries: Mapping[str, Entry]) -> tuple[Config, list[Problem]]:
    """The configuration made of the valid entries (the others at their default), and the problems of the invalid."""
    try:
        return Config.model_validate(_nested(entries)), []
    except ValidationError as error:
        # A list whose items are all invalid also counts as too short, which would only confuse.
        details = [detail for detail in error.errors() if not (detail["type"] == "too_short" and detail["input"])]
        faults = [(split_location(detail["loc"])[0], describe(detail)) for detail in details]
    invalid = {key for key, _ in faults}
    config = Config.model_validate(_nested({key: entry for key, entry in entries.items() if key not in invalid}))
    return config, [Problem(entries[key].place, key, message) for key, message in faults]


def _nested(entries: Mapping[str, Entry]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, entry in entries.items():
        *sections, name = path.split(".")
        section = root
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = entry.value
    return root


def _policy_problems(
    config: Config, entries: Mapping[str, Entry], from_file: Layer, known: list[Problem]
) -> Iterator[Problem]:
    named = {problem.key for problem in known}
    for key, message in findings(config):
        if key in named:
            continue
        if key in entries:
            yield Problem(entries[key].place, key, message)
        else:
            yield Problem("", key, message + _how_to_set(key, from_file))


def _how_to_set(key: str, from_file: Layer) -> str:
    if key in from_file.unset:
        return f"; the file asks for ${{{from_file.unset[key]}}}, which is not set"
    variable = KEYS[key].variable
    return f"; set {variable} or {variable}_FILE" if KEYS[key].secret else f"; set it in the file or as {variable}"


def _warnings(config: Config, entries: Mapping[str, Entry]) -> Iterator[str]:
    for key in FATES:
        if key == "api.metrics_open" and config.api.host in LOOPBACK:  # only this machine reaches the site
            continue
        if key in KEYS and key in entries and (text := warning(key, value_at(config, key))):
            yield f"{entries[key].place}: {key}: {text}"
