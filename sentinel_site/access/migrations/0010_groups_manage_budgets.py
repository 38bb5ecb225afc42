"""The groups' permissions on budgets, and to see what users spent."""

from typing import Any

from django.db import migrations

from sentinel_site.access.groups import create_missing_permissions, grant_groups


def grant(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    create_missing_permissions(apps, using)
    grant_groups(apps, using)


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0009_groups_end_lockouts"),
        ("alerting", "0010_budgets"),
        ("baselines", "0008_users_by_hour"),
    ]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
