"""Query parameters and bodies that are strict: what is unknown, repeated or wrong is a 400 that names it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
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


class StrictSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A serializer that refuses keys it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := data.keys() - self.fields.keys()):
            allowed = f"Not known here. Allowed: {', '.join(self.fields) or 'none'}."
            raise serializers.ValidationError({str(name): [allowed] for name in sorted(unknown, key=str)})
        return super().to_internal_value(data)

    @classmethod
    def read(cls, parameters: QueryDict) -> dict[str, Any]:
        """The checked parameters of a query string; raises ValidationError that names what is wrong."""
        repeated = [name for name, values in parameters.lists() if len(values) > 1]
        if repeated:
            raise serializers.ValidationError({name: ["Given more than once."] for name in repeated})
        query = cls(data=parameters.dict())
        query.is_valid(raise_exception=True)
        return dict(query.validated_data)


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

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        end = attrs.setdefault("end", timezone.now())
        try:
            start = attrs.setdefault("start", end - timedelta(hours=attrs["hours"]))
        except OverflowError:
            raise serializers.ValidationError({"hours": ["Reaches back before the year 1."]}) from None
        if start > end:
            raise serializers.ValidationError({"start": ["Must not be after the end of the range."]})
        return attrs
