"""What every section of the configuration shares: strictness and the checked kinds of scalar."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

HOSTLESS_SCHEMES = {"sqlite", "memory", "unix", "fakeredis"}


class Section(BaseModel):
    """A mapping of the configuration. The docstring under a field is its description in errors and in the docs."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=False,
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_not_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Without this pydantic reads `max_poll_records: yes` as 1.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in (int, float):
            raise ValueError(f"must be a number, not {str(value).lower()}")
        return value


def _host_and_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError('must be "host:port" with a port from 1 to 65535')
    return value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or value != f"{parts.scheme}://{parts.netloc}":
        raise ValueError('must be an exact origin such as "https://app.example.com" (scheme, host, port; no path)')
    return value


def _origin_or_any(value: str) -> str:
    return value if value == "*" else _origin(value)


def _csrf_origin(value: str) -> str:
    _origin(value.replace("://*.", "://", 1))
    return value


def check_url(value: str, *schemes: str) -> str:
    """The URL itself when it has one of the schemes and, unless the scheme knows none, a host; else ValueError."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises on a port that is no number
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if parts.scheme not in schemes:
        raise ValueError("must be a URL that begins with " + " or ".join(f"{scheme}://" for scheme in schemes))
    if parts.scheme not in HOSTLESS_SCHEMES and not parts.hostname:
        raise ValueError(f'must name a host, as in "{parts.scheme}://host:port"')
    return value


def url_of(*schemes: str) -> AfterValidator:
    """A validator of URLs with one of the schemes."""
    return AfterValidator(lambda value: check_url(value, *schemes))


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must not name the same thing twice")
    return values


def matching(pattern: str, meaning: str) -> AfterValidator:
    """A validator of strings that match `pattern` as a whole; `meaning` says in words what is allowed."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")
        return value

    return AfterValidator(check)


Count = Annotated[int, Field(gt=0)]
CountOrZero = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
SecondsOrZero = Annotated[float, Field(ge=0)]
PositiveOrZero = Annotated[float, Field(ge=0)]
Days = Annotated[int, Field(gt=0, le=36_500)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, StringConstraints(min_length=1)]
Topic = Annotated[str, matching(r"[A-Za-z0-9._-]{1,249}", "1 to 249 letters, digits, dots, hyphens or underscores")]
DatabaseName = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_/-]{0,63}", "1 to 64 letters, digits, - or _")]
HostPort = Annotated[str, AfterValidator(_host_and_port)]
Origin = Annotated[str, AfterValidator(_origin)]
OriginOrAny = Annotated[str, AfterValidator(_origin_or_any)]
CsrfOrigin = Annotated[str, AfterValidator(_csrf_origin)]
HttpUrl = Annotated[str, url_of("http", "https")]
UNIQUE = AfterValidator(_unique)
