"""The groups' permissions on silences, inhibition, escalation and the life of alerts."""

from typing import Any

from django.db import migrations

from sentinel_site.access.groups import create_missing_permissions, grant_groups


def grant(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    create_missing_permissions(apps, using)
    grant_groups(apps, using)


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0005_groups_see_hours"),
        ("alerting", "0003_life_of_alerts"),
    ]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
