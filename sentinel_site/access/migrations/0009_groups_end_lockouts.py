"""The group admin may end lockouts, and may not say whom the sign-on provider means."""

from typing import Any

from django.db import migrations

from sentinel_site.access.groups import create_missing_permissions, grant_groups


def grant(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    create_missing_permissions(apps, using)
    grant_groups(apps, using)


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0008_external_identities"),
        ("auditlog", "0001_initial"),
        ("axes", "0001_initial"),
    ]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
