"""The groups viewer, operator and admin, and what their members may do in the admin.

Migrations call `grant_groups`; one that adds a model calls it again. People themselves and their groups stay with
superusers: whoever may set passwords or memberships could step into another project.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db.models import Q

PRODUCT_APPS = ("baselines", "anomalies", "alerting", "ingestion")
ACTIONS = ("view", "add", "change", "delete")
ACTED_ON = {
    "anomalies": ("anomaly", "incident"),
    "baselines": ("servedmodel",),
    "ingestion": ("replayedletter",),
}
MANAGED = {
    "alerting": (
        "alertrule",
        "budget",
        "channel",
        "delivery",
        "escalationstep",
        "inhibition",
        "severitychannel",
        "silence",
        "threshold",
    ),
    "anomalies": ("detectionoverride",),
    "baselines": ("annotation",),
}

TOKENS = [f"{action}_apitoken" for action in ACTIONS]


def viewer_permissions() -> Q:
    return Q(content_type__app_label__in=PRODUCT_APPS, codename__startswith="view_")


def operator_permissions() -> Q:
    """Everything a viewer sees; acting on what happened and what is watched; managing how it is judged and told."""
    granted = viewer_permissions()
    for app, names in ACTED_ON.items():
        granted |= Q(content_type__app_label=app, codename__in=[f"change_{name}" for name in names])
    for app, names in MANAGED.items():
        codenames = [f"{action}_{name}" for action in ACTIONS for name in names]
        granted |= Q(content_type__app_label=app, codename__in=codenames)
    return granted


def admin_permissions() -> Q:
    """All but people: whoever may write an external identity, too, can enter as somebody else."""
    granted = Q(content_type__app_label__in=PRODUCT_APPS) | Q(content_type__app_label="access", codename__in=TOKENS)
    granted |= Q(content_type__app_label="auditlog", codename="view_logentry")
    return granted | Q(content_type__app_label="axes", codename__in=["view_accessattempt", "delete_accessattempt"])


PERMISSIONS = {"viewer": viewer_permissions, "operator": operator_permissions, "admin": admin_permissions}


def grant_groups(apps: Any, using: str = "default") -> None:
    """Create the groups where they are missing and set their permissions; `apps` is a registry of models.

    The permissions themselves are made here too: Django makes them after the last migration only.
    """
    group_model = apps.get_model("auth", "Group")
    permission_model = apps.get_model("auth", "Permission")
    for name, permissions in PERMISSIONS.items():
        group, _ = group_model.objects.using(using).get_or_create(name=name)
        group.permissions.set(permission_model.objects.using(using).filter(permissions()))


def create_missing_permissions(apps: Any, using: str = "default") -> None:
    """Create the permissions of every model in the historical registry `apps` of a migration."""
    for app_config in apps.get_app_configs():
        app_config.models_module = True
        create_permissions(app_config, verbosity=0, using=using, apps=apps)
        app_config.models_module = None
