"""Every key of the configuration, derived from the model: what a key is called, holds, and means."""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from sentinel_site.config.base import Section
from sentinel_site.config.model import Config

SPEC_VARIABLES: dict[str, str] = {
    "INFLUXDB_TOKEN": "storage.influxdb.token",
    "RABBITMQ_PASSWORD": "alerting.rabbitmq.password",
    "REDIS_PASSWORD": "storage.redis.password",
    "WEBHOOK_SECRET": "alerting.webhook.secret",
    "SENTINEL_LOG_LEVEL": "logging.level",
    "SENTINEL_LOG_JSON": "logging.json",
}
"""Short environment variables and the keys they set; `SENTINEL__...` of the same key goes before them."""

PREFIX = "SENTINEL__"


@dataclass(frozen=True)
class Key:
    """A leaf of the configuration."""

    path: str
    """Dotted, as written in the file."""
    field: FieldInfo
    secret: bool
    """Whether its value must never be shown (a password, a token, keys)."""
    structured: bool
    """Whether it holds a list or a mapping, which the environment gives as JSON."""

    @property
    def description(self) -> str:
        return self.field.description or ""

    @property
    def default(self) -> Any:
        return self.field.get_default(call_default_factory=True)

    @property
    def variable(self) -> str:
        """The environment variable an operator would set: the short one where there is one."""
        short = {path: name for name, path in SPEC_VARIABLES.items()}
        return short.get(self.path) or PREFIX + self.path.upper().replace(".", "__")


def _mentions(annotation: Any, *wanted: type) -> bool:
    if annotation in wanted or get_origin(annotation) in wanted:
        return True
    return any(_mentions(part, *wanted) for part in get_args(annotation))


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def fields_of(section: type[Section]) -> dict[str, FieldInfo]:
    """The fields of a section by the name they have in the file."""
    return {info.alias or name: info for name, info in section.model_fields.items()}


def _walk(section: type[Section], prefix: str) -> Iterator[Key | tuple[str, type[Section]]]:
    yield prefix.rstrip("."), section
    for name, info in fields_of(section).items():
        annotation = _resolved(info.annotation)
        if _is_section(annotation):
            yield from _walk(annotation, f"{prefix}{name}.")
        else:
            secret, structured = _mentions(annotation, SecretStr), _mentions(annotation, tuple, dict)
            yield Key(prefix + name, info, secret, structured)


def _resolved(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        members = [part for part in get_args(annotation) if part is not type(None)]
        return members[0] if len(members) == 1 else annotation
    return annotation


_FOUND = list(_walk(Config, ""))
KEYS: Mapping[str, Key] = types.MappingProxyType({key.path: key for key in _FOUND if isinstance(key, Key)})
"""All leaves by dotted path, in the order of the model."""
SECTIONS: Mapping[str, type[Section]] = types.MappingProxyType(
    dict(entry for entry in _FOUND if isinstance(entry, tuple))
)
"""All sections by dotted path; the root is the empty path."""
