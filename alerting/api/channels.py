"""The API of channels: where alerts go. A secret goes in and never comes out."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerting import health
from alerting.api.parts import Conflict
from alerting.config_channels import sync_config_channels
from alerting.forms import rotated
from alerting.models import Channel
from alerting.trial import send_test
from baselines.api.owned import ProjectField, found, mine, save_checked
from baselines.api.pages import Keyset
from baselines.api.parameters import CursorField, LimitField, OneOfField, StrictSerializer
from baselines.api.serializers import NoQuery

_SAME = (
    "id name kind enabled disabled_reason config title_template body_template rate_limit failing_since failure_count "
    "last_error origin created_at updated_at"
)
FIELDS = {name: name for name in _SAME.split()} | {"project": "project__name", "has_secret": "secret"}
BY_ID = Keyset(("id",))
NOT_COLUMNS = ("secret", "keep_former_secret")


class ChannelQuery(StrictSerializer):
    kind = OneOfField(choices=Channel.Kind.choices, required=False)
    limit = LimitField()
    cursor = CursorField(tuple[int])


class ChannelBody(StrictSerializer):
    name = serializers.CharField(max_length=100)
    kind = OneOfField(choices=Channel.Kind.choices)
    enabled = serializers.BooleanField(default=True)
    config = serializers.DictField(default=dict, help_text="settings of the kind, such as url")
    secret = serializers.CharField(
        max_length=10_000,
        allow_blank=True,
        default="",
        write_only=True,
        help_text="never given out again; one that is left out of a change stays",
    )
    keep_former_secret = serializers.BooleanField(
        default=False, write_only=True, help_text="webhooks: sign with the former secret too, until the next change"
    )
    title_template = serializers.CharField(max_length=10_000, allow_blank=True, default="")
    body_template = serializers.CharField(max_length=100_000, allow_blank=True, default="")
    rate_limit = serializers.IntegerField(
        min_value=1,
        max_value=1_000_000,
        allow_null=True,
        default=None,
        help_text="messages per minute, the rest is told in a summary; null = as is usual for the kind",
    )
    project = ProjectField()


class ChannelSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=Channel.Kind.choices)
    enabled = serializers.BooleanField()
    disabled_reason = serializers.CharField(allow_blank=True)
    config = serializers.DictField()
    has_secret = serializers.BooleanField()
    title_template = serializers.CharField(allow_blank=True)
    body_template = serializers.CharField(allow_blank=True)
    rate_limit = serializers.IntegerField(allow_null=True)
    failing_since = serializers.DateTimeField(allow_null=True, help_text="null = it works")
    failure_count = serializers.IntegerField(help_text="attempts that failed in a row")
    last_error = serializers.CharField(allow_blank=True)
    project = serializers.CharField(allow_null=True)
    origin = serializers.ChoiceField(choices=Channel.Origin.choices, help_text="config = read-only")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class ChannelPage(serializers.Serializer):  # type: ignore[type-arg]
    channels = ChannelSerializer(many=True)
    count = serializers.IntegerField(help_text="rows in this answer")
    next = serializers.CharField(allow_null=True, help_text="cursor of the next page; null on the last")


class TrialSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What became of one test message."""

    ok = serializers.BooleanField()
    status_code = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.FloatField()
    answer = serializers.CharField(allow_blank=True, help_text="what the receiver said, cut")
    error = serializers.CharField(allow_blank=True)


class ChannelList(APIView):
    scopes = {"GET": "read", "POST": "write"}

    @extend_schema(operation_id="list_channels", parameters=[ChannelQuery], responses=ChannelPage, tags=["channels"])
    def get(self, request: Request) -> Response:
        """Channels of the projects one sees and of all projects, those of the configuration among them."""
        query = ChannelQuery.read(request.query_params)
        sync_config_channels()
        visible = Channel.objects.visible_to(request.user)
        if "kind" in query:
            visible = visible.filter(kind=query["kind"])
        rows, following = BY_ID.page(visible, FIELDS, query["limit"], query.get("cursor"))
        shown = [as_row(row) for row in rows]
        return Response({"channels": shown, "count": len(shown), "next": following})

    @extend_schema(
        operation_id="create_channel", request=ChannelBody, responses={201: ChannelSerializer}, tags=["channels"]
    )
    def post(self, request: Request) -> Response:
        """Make a channel. Nothing is sent until a rule names it."""
        channel = Channel()
        _write(channel, request, partial=False)
        return Response(one(channel.pk), status.HTTP_201_CREATED)


class ChannelDetail(APIView):
    scopes = {"GET": "read", "PATCH": "write", "DELETE": "write"}

    @extend_schema(operation_id="get_channel", responses=ChannelSerializer, tags=["channels"])
    def get(self, request: Request, channel_id: int) -> Response:
        """One channel, with the state of its health."""
        NoQuery.read(request.query_params)
        return Response(one(found(Channel.objects.visible_to(request.user), channel_id).pk))

    @extend_schema(operation_id="change_channel", request=ChannelBody, responses=ChannelSerializer, tags=["channels"])
    def patch(self, request: Request, channel_id: int) -> Response:
        """Change what the body names. The channel begins anew: it forgets its failures, and why it was disabled."""
        channel = _mine(request, channel_id)
        _write(channel, request, partial=True)
        return Response(one(channel.pk))

    @extend_schema(operation_id="delete_channel", responses={204: None}, tags=["channels"])
    def delete(self, request: Request, channel_id: int) -> Response:
        """Remove a channel that nothing was ever sent to; any other is a 409: disable it."""
        channel = _mine(request, channel_id)
        if channel.deliveries.exists():
            raise Conflict("Alerts were sent to it, and what was said to whom is kept. Disable it instead.")
        channel.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


class TryChannel(APIView):
    scopes = {"POST": "write"}

    @extend_schema(operation_id="test_channel", request=None, responses=TrialSerializer, tags=["channels"])
    def post(self, request: Request, channel_id: int) -> Response:
        """Send a message of type `channel.test` now, and give what the receiver really answered."""
        channel: Channel = mine(Channel, request.user, channel_id)
        trial = send_test(channel, timezone.now())
        return Response({name: getattr(trial, name) for name in TrialSerializer().fields})


def _mine(request: Request, channel_id: int) -> Channel:
    channel: Channel = mine(Channel, request.user, channel_id)
    if channel.origin == Channel.Origin.CONFIG:
        raise exceptions.PermissionDenied("The configuration file makes this channel: change it there.")
    return channel


def _write(channel: Channel, request: Request, *, partial: bool) -> None:
    body = ChannelBody(data=request.data, partial=partial, context={"principal": request.user})
    body.is_valid(raise_exception=True)
    values = body.validated_data
    for name, value in values.items():
        if name not in NOT_COLUMNS:
            setattr(channel, name, value)
    if "secret" in values:
        keeps = values.get("keep_former_secret") and values["secret"] and channel.secret
        channel.secret = rotated(values["secret"], channel.secret) if keeps else values["secret"]
    if channel.enabled:
        channel.disabled_reason = ""
    health.forget(channel)
    save_checked(channel)


def one(channel_id: int) -> dict[str, Any]:
    rows, _ = BY_ID.page(Channel.objects.filter(pk=channel_id), FIELDS, 1, None)
    return as_row(rows[0])


def as_row(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"has_secret": bool(row["has_secret"])}
