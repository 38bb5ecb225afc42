"""`manage.py check_config`: the effective configuration with secrets masked, or all that is wrong with it.

It needs no Django, so that it can speak when the configuration is too wrong for Django to start.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic import SecretStr

from sentinel_site.config.catalogue import KEYS
from sentinel_site.config.loading import load_config
from sentinel_site.config.model import Config
from sentinel_site.config.policy import value_at
from sentinel_site.config.problems import MASK, ConfigError
from sentinel_site.config.urls import mask_password

_SENSITIVE_PROPERTY = re.compile(r"password|secret|token|\.key\b|credential|jaas", re.IGNORECASE)
_INDENT = "  "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the file to check instead of the one in force")
    parser.add_argument("--sources", action="store_true", help="say beside each value where it was set")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the effective configuration and warnings. Returns 0, or 1 when there are problems."""
    parser = argparse.ArgumentParser(prog="manage.py check_config", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(argv)
    return check(options.config, sources=options.sources)


def check(
    path: Path | None,
    *,
    sources: bool,
    env: Mapping[str, str] | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """What `main` does, over any environment and streams (the process's own by default)."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        config = load_config(path, env)
    except ConfigError as error:
        err.write(f"{error}\n")
        return 1
    out.write(f"# Effective configuration; file: {config.origin.file or 'none'}\n")
    out.writelines(f"{line}\n" for line in render(config, sources=sources))
    err.writelines(f"Warning: {text}\n" for text in config.origin.warnings)
    return 0


def render(config: Config, *, sources: bool = False) -> Iterator[str]:
    """The configuration as lines of YAML, secrets masked; with `sources`, each with a comment on its origin."""
    shown: list[str] = []
    for path in KEYS:
        *sections, name = path.split(".")
        common = 0
        while common < min(len(shown), len(sections)) and shown[common] == sections[common]:
            common += 1
        for depth in range(common, len(sections)):
            yield f"{_INDENT * depth}{sections[depth]}:"
        shown = sections
        origin = f"  # {config.origin.places.get(path, 'default')}" if sources else ""
        value = json.dumps(_masked(path, value_at(config, path)), ensure_ascii=False)
        yield f"{_INDENT * len(sections)}{name}: {value}{origin}"


def _masked(path: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple | list):
        return [_masked(path, part) for part in value]
    if isinstance(value, dict):
        return {name: MASK if _SENSITIVE_PROPERTY.search(name) else part for name, part in value.items()}
    if isinstance(value, bool | int | float) or value is None:
        return value
    return mask_password(str(value))
