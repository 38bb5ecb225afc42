"""A YAML file as data plus the line of every key; repeated keys and syntax errors are problems, not surprises."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sentinel_site.config.problems import ConfigError, Problem


@dataclass(frozen=True)
class Document:
    path: Path
    data: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)
    """Line of each dotted key, counted from 1."""
    problems: tuple[Problem, ...] = ()

    def place(self, key: str) -> str:
        """File and line of a key, or of the nearest section around it."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f"{self.path}:{self.lines[key]}" if key else str(self.path)


def read_document(path: Path) -> Document:
    """Read a YAML mapping. Raises ConfigError when it cannot be read or is no YAML mapping."""
    loader = yaml.SafeLoader(_read_text(path))
    try:
        root = loader.get_single_node()
        if root is None:
            return Document(path, {})
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError([Problem(f"{path}:1", "", "must be a mapping of sections (ingestion:, detection:, …)")])
        lines: dict[str, int] = {}
        problems = tuple(_visit(root, "", path, lines))
        return Document(path, loader.construct_document(root), lines, problems)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(path, error)]) from None
    finally:
        loader.dispose()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), "", f"is not UTF-8 text (byte {error.start})")]) from None


def _visit(node: yaml.MappingNode, prefix: str, path: Path, lines: dict[str, int]) -> Iterator[Problem]:
    for key, value in node.value:
        place = f"{path}:{key.start_mark.line + 1}"
        dotted = f"{prefix}{key.value}"
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            if key.tag != "tag:yaml.org,2002:merge":
                yield Problem(place, str(dotted), "a key must be text")
            continue
        if dotted in lines:
            yield Problem(place, dotted, f"is set twice; first in line {lines[dotted]}")
        lines[dotted] = key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode) and value.start_mark.index > node.start_mark.index:
            yield from _visit(value, f"{dotted}.", path, lines)


def _syntax_problem(path: Path, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = f"{path}:{mark.line + 1}" if mark else str(path)
    reason = " ".join(part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    return Problem(place, "", f"is not valid YAML: {reason or error}")
