"""The project that a service belongs to when nobody said otherwise."""

from typing import Any

from django.db import migrations


def create_default_project(apps: Any, schema_editor: Any) -> None:
    projects = apps.get_model("baselines", "Project").objects.using(schema_editor.connection.alias)
    projects.get_or_create(name="default", defaults={"description": "Services that nobody has assigned."})


class Migration(migrations.Migration):
    dependencies = [("baselines", "0001_initial")]
    operations = [migrations.RunPython(create_default_project, migrations.RunPython.noop)]
