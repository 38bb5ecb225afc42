"""Query parameters and bodies that are strict: what is unknown, repeated or wrong is a 400 that names it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
from django.http import QueryDict
from django.utils import timezone
from rest_framework import serializers

from baselines.api.pages import decode_cursor

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
DEFAULT_HOURS = 24
MAX_HOURS = 24 * 365 * 10
LONGEST_REMEMBERED = 2000
FORMATS = ("json", "ndjson")

Asked = tuple[tuple[str, tuple[str, ...]], ...]
"""A query string, taken apart: names, each with its values."""


class StrictSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A serializer that refuses keys it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := data.keys() - self.fields.keys()):
            allowed = f"Not known here. Allowed: {', '.join(self.fields) or 'none'}."
            raise serializers.ValidationError({str(name): [allowed] for name in sorted(unknown, key=str)})
        return super().to_internal_value(data)

    @classmethod
    def read(cls, parameters: QueryDict) -> dict[str, Any]:
        """The checked parameters of a query string; raises ValidationError that names what is wrong.

        Programs ask the same over and over: what was right before is not checked again.
        """
        asked = tuple((name, tuple(values)) for name, values in parameters.lists())
        is_short = sum(len(value) for _, values in asked for value in values) <= LONGEST_REMEMBERED
        return cls.completed(dict(_checked_before(cls, asked) if is_short else checked(cls, asked)))

    @classmethod
    def completed(cls, checked: dict[str, Any]) -> dict[str, Any]:
        """Add what depends on more than the query string, such as the time of day."""
        return checked


def checked(query: type[StrictSerializer], asked: Asked) -> dict[str, Any]:
    """The parameters in the types of their fields. Raises ValidationError."""
    repeated = [name for name, values in asked if len(values) > 1]
    if repeated:
        raise serializers.ValidationError({name: ["Given more than once."] for name in repeated})
    found = query(data={name: values[0] for name, values in asked})
    found.is_valid(raise_exception=True)
    return dict(found.validated_data)


_checked_before = lru_cache(maxsize=1024)(checked)


class OneOfField(serializers.ChoiceField):
    """One of a few names; any other is refused with the names that there are."""

    default_error_messages = {"invalid_choice": '"{input}" is none of those there are: {allowed}.'}

    def fail(self, key: str, **details: Any) -> NoReturn:
        super().fail(key, allowed=", ".join(map(str, self.choices)), **details)


class CursorField(serializers.CharField):
    """An opaque cursor; becomes the position (a tuple of `kinds`) after which the page begins."""

    default_error_messages = {"cursor": "Not a cursor of this list: pass `next` of an answer as it is."}

    def __init__(self, kinds: Any, **options: Any) -> None:
        self.kinds = kinds
        super().__init__(required=False, max_length=1000, help_text="`next` of the answer before this one", **options)

    def to_internal_value(self, data: Any) -> Any:
        try:
            position = decode_cursor(super().to_internal_value(data), self.kinds)
            return tuple(part.astimezone(UTC) if isinstance(part, datetime) else part for part in position)
        except (ValueError, OverflowError, msgspec.MsgspecError):
            self.fail("cursor")


class ChosenFields(serializers.CharField):
    """Some of the fields of a row, by name, separated by commas; becomes a tuple."""

    default_error_messages = {"unknown": "There is no field {names}. There are: {allowed}."}

    def __init__(self, row: type[serializers.Serializer[Any]], **options: Any) -> None:
        self.allowed = tuple(row().fields)
        told = "names of the wanted fields, separated by commas; all where absent"
        super().__init__(required=False, max_length=1000, help_text=told, **options)

    def to_internal_value(self, data: Any) -> Any:
        names = tuple(dict.fromkeys(name.strip() for name in super().to_internal_value(data).split(",")))
        if unknown := [name for name in names if name not in self.allowed]:
            self.fail("unknown", names=", ".join(f'"{name}"' for name in unknown), allowed=", ".join(self.allowed))
        return names


def chosen(rows: list[dict[str, Any]], names: Iterable[str] | None) -> list[dict[str, Any]]:
    """The rows with only the named fields; None for all of them."""
    return rows if names is None else [{name: row[name] for name in names} for row in rows]


class FormatField(OneOfField):
    """How a list is written; the header Accept: application/x-ndjson says ndjson too."""

    def __init__(self, **options: Any) -> None:
        told = "ndjson: every row of the range, one a line, not only a page of them"
        super().__init__(choices=FORMATS, required=False, help_text=told, **options)


class LimitField(serializers.IntegerField):
    def __init__(self, **options: Any) -> None:
        bounds = {"min_value": 1, "max_value": MAX_LIMIT, "default": DEFAULT_LIMIT}
        super().__init__(help_text="rows in the answer, at most", **bounds | options)


class RangeSerializer(StrictSerializer):
    """A range of time: `start` to `end`, or the last `hours` before `end`. Adds both ends to the checked values."""

    hours = serializers.IntegerField(
        min_value=1, max_value=MAX_HOURS, default=DEFAULT_HOURS, help_text="length of the range where start is absent"
    )
    start = serializers.DateTimeField(required=False, help_text="RFC 3339; a naive time is UTC")
    end = serializers.DateTimeField(required=False, help_text="RFC 3339; now where absent")

    @classmethod
    def completed(cls, checked: dict[str, Any]) -> dict[str, Any]:
        end = checked.setdefault("end", timezone.now())
        try:
            start = checked.setdefault("start", end - timedelta(hours=checked["hours"]))
        except OverflowError:
            raise serializers.ValidationError({"hours": ["Reaches back before the year 1."]}) from None
        if start > end:
            raise serializers.ValidationError({"start": ["Must not be after the end of the range."]})
        return checked
