"""The form of a channel: its secret goes in and never comes out."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminPasswordToggleWidget, UnfoldBooleanSwitchWidget

from alerting.models import Channel
from alerting.rules.signing import SecretError, signing_keys

CONFIG_HELP = (
    'Webhook: {"url": "https://…", "method": "POST", "headers": {}, "timeout_secs": 10}. '
    'RabbitMQ: {"url": "amqp://host:5672/vhost", "username": "…", "exchange": "sentinel.alerts", '
    '"routing_key_prefix": "alert", "persistent": true, "timeout_secs": 10}.'
)


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """An empty secret field keeps the secret there is; a new one can leave the former valid while receivers change."""

    secret = forms.CharField(
        required=False,
        widget=UnfoldAdminPasswordToggleWidget({"autocomplete": "new-password"}),
        help_text="Webhook: whsec_ and base64 of 24 to 64 bytes, or any text. RabbitMQ: the password. "
        "It is never shown again; leave it empty to keep it.",
    )
    keep_former_secret = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Sign webhooks with the former secret too, until the next change.",
    )

    class Meta:
        model = Channel
        fields = ["name", "kind", "enabled", "config", "secret", "project"]
        help_texts = {"config": CONFIG_HELP}

    def get_initial_for_field(self, field: forms.Field, field_name: str) -> Any:
        return "" if field_name == "secret" else super().get_initial_for_field(field, field_name)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        given, former = cleaned.get("secret", ""), self.instance.secret
        if not given:
            cleaned["secret"] = former
        elif former and cleaned.get("keep_former_secret"):
            cleaned["secret"] = rotated(given, former)
        return cleaned


def rotated(new: str, former: str) -> str:
    """A secret text that signs with the new secret and with the newest of the former ones, where that still can."""
    newest = former.splitlines()[0]
    try:
        signing_keys(newest)
    except SecretError:
        return new
    return f"{new}\n{newest}"
