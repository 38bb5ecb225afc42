"""The groups' permissions on overrides, feedback, annotations and retiring."""

from typing import Any

from django.db import migrations

from sentinel_site.access.groups import create_missing_permissions, grant_groups


def grant(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    create_missing_permissions(apps, using)
    grant_groups(apps, using)


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0002_groups"),
        ("anomalies", "0006_overrides_and_feedback"),
        ("baselines", "0004_watch_and_annotations"),
    ]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
