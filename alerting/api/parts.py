"""What the bodies of several resources of alerting have in common."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import exceptions, serializers, status

from alerting.models import Channel
from alerting.rules.matching import MAX_MATCHERS, MAX_VALUE_LENGTH, OPERATORS
from baselines.api.parameters import OneOfField, StrictSerializer


class Conflict(exceptions.APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class MatcherBody(StrictSerializer):
    """One condition over the facts of an alert."""

    field = serializers.CharField(max_length=200, help_text="service, model, type, severity, labels.<name> …")
    op = OneOfField(choices=OPERATORS, help_text="not: where the glob does not hold")
    value = serializers.CharField(max_length=MAX_VALUE_LENGTH, allow_blank=True, trim_whitespace=False)


class MatcherSerializer(serializers.Serializer):  # type: ignore[type-arg]
    field = serializers.CharField()
    op = serializers.ChoiceField(choices=OPERATORS)
    value = serializers.CharField(allow_blank=True)


def matchers_field(**options: Any) -> MatcherBody:
    """Matchers in a body: all must hold."""
    field: MatcherBody = MatcherBody(many=True, max_length=MAX_MATCHERS, help_text="all must hold", **options)
    return field


class ChannelField(serializers.PrimaryKeyRelatedField):  # type: ignore[type-arg]
    """A channel by its id: one of those that whoever asks may see."""

    default_error_messages = {"does_not_exist": "There is no channel {pk_value} that you can see."}

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"queryset": Channel.objects.all()} | options)

    def get_queryset(self) -> QuerySet[Channel]:
        visible: QuerySet[Channel] = Channel.objects.visible_to(self.context["principal"])
        return visible
