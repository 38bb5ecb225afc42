"""The groups' permissions on thresholds."""

from typing import Any

from django.db import migrations

from sentinel_site.access.groups import create_missing_permissions, grant_groups


def grant(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    create_missing_permissions(apps, using)
    grant_groups(apps, using)


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0006_groups_manage_silences"),
        ("alerting", "0009_thresholds"),
    ]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
