"""The forms of channels, one per kind: its settings as fields, and a secret that goes in and never comes out."""

from __future__ import annotations

from functools import cache
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminPasswordToggleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from alerting.channels import KINDS, setting_problems
from alerting.channels.base import Setting
from alerting.models import Channel
from alerting.rules.signing import SecretError, signing_keys

PREFIX = "setting_"
"""Before the name of a setting, so that none is taken for a column."""
USUAL = ("", "as is usual")
SWITCH = (USUAL, ("yes", "yes"), ("no", "no"))
TEMPLATE_HELP = (
    "Empty: the built-in words. Else a template, as in {{ severity|upper }} {{ anomaly.service }}; "
    "docs/channels.md lists what it may name."
)


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """An empty secret field keeps the secret there is; a new one can leave the former valid while receivers change."""

    offered: tuple[Setting, ...] = ()

    secret = forms.CharField(required=False, widget=UnfoldAdminPasswordToggleWidget({"autocomplete": "new-password"}))
    keep_former_secret = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Sign webhooks with the former secret too, until the next change.",
    )

    class Meta:
        model = Channel
        fields = ["name", "kind", "enabled", "secret", "title_template", "body_template", "rate_limit", "project"]
        help_texts = {"title_template": TEMPLATE_HELP, "body_template": TEMPLATE_HELP}

    def get_initial_for_field(self, field: forms.Field, field_name: str) -> Any:
        if field_name == "secret":
            return ""
        for setting in self.offered:
            if field_name == PREFIX + setting.name:
                return shown(setting, self.instance.config.get(setting.name))
        return super().get_initial_for_field(field, field_name)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        given, former = cleaned.get("secret", ""), self.instance.secret
        if not given:
            cleaned["secret"] = former
        elif former and cleaned.get("keep_former_secret"):
            cleaned["secret"] = rotated(given, former)
        if "kind" in self.errors:
            return cleaned
        values = {setting: cleaned.get(PREFIX + setting.name) for setting in self.offered}
        config = {setting.name: entered(setting, value) for setting, value in values.items() if value not in (None, "")}
        self.instance.config = config
        for key, problem in setting_problems(self._kind(cleaned), config, cleaned["secret"]).items():
            field = PREFIX + key if PREFIX + key in self.fields else key
            if field not in self.errors:
                self.add_error(field if field in self.fields else None, problem)
        return cleaned

    def _kind(self, cleaned: dict[str, Any]) -> str:
        return str(cleaned.get("kind") or self.instance.kind)

    def _update_errors(self, errors: ValidationError) -> None:
        # The model's own check of the settings: said already, at the fields they were entered in.
        by_field = getattr(errors, "error_dict", {})
        for name in [name for name in by_field if name == "config" or (name == "secret" and "secret" in self.errors)]:
            del by_field[name]
        if by_field or not hasattr(errors, "error_dict"):
            super()._update_errors(errors)  # type: ignore[misc]


@cache
def form_for(kind: str) -> type[ChannelForm]:
    """The form of one kind. Raises `KeyError` for a kind that does not exist."""
    about = KINDS[kind]
    fields = {PREFIX + setting.name: _field(setting) for setting in about.settings}
    help_text = f"{about.credential} It is never shown again; leave it empty to keep it."
    secret = forms.CharField(required=False, widget=_password(), help_text=help_text)
    return type("ChannelForm", (ChannelForm,), {"offered": about.settings, "secret": secret, **fields})


def setting_fields(kind: str) -> list[str]:
    """The names of the fields that stand for the settings of a kind."""
    return [PREFIX + setting.name for setting in KINDS[kind].settings]


def entered(setting: Setting, value: Any) -> Any:
    """A setting as a channel keeps it, from what its field holds."""
    match setting.type:
        case "number":
            return int(value) if value == int(value) else value
        case "switch":
            return value == "yes"
        case "lines":
            return [line.strip() for line in value.splitlines() if line.strip()]
        case _:
            return value


def shown(setting: Setting, value: Any) -> Any:
    """What a field shows of a setting."""
    if setting.type == "switch" and isinstance(value, bool):
        return "yes" if value else "no"
    if setting.type == "lines" and isinstance(value, list):
        return "\n".join(map(str, value))
    return value


def rotated(new: str, former: str) -> str:
    """A secret text that signs with the new secret and with the newest of the former ones, where that still can."""
    newest = former.splitlines()[0]
    try:
        signing_keys(newest)
    except SecretError:
        return new
    return f"{new}\n{newest}"


def _field(setting: Setting) -> forms.Field:
    # What is required is asked for by the kind's own check, which also says what an example looks like.
    common: dict[str, Any] = {"required": False, "label": setting.name.replace("_", " "), "help_text": setting.help}
    match setting.type:
        case "number":
            return forms.FloatField(**common, widget=UnfoldAdminTextInputWidget())
        case "choice":
            choices = (USUAL, *((name, name) for name in setting.choices))
            return forms.ChoiceField(**common, choices=choices, widget=UnfoldAdminSelectWidget())
        case "switch":
            return forms.ChoiceField(**common, choices=SWITCH, widget=UnfoldAdminSelectWidget())
        case "lines":
            return forms.CharField(**common, widget=UnfoldAdminTextareaWidget())
        case "json":
            return forms.JSONField(**common, widget=UnfoldAdminTextareaWidget())
        case _:
            return forms.CharField(**common, widget=UnfoldAdminTextInputWidget())


def _password() -> forms.Widget:
    return UnfoldAdminPasswordToggleWidget({"autocomplete": "new-password"})
