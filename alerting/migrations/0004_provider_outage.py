"""The inhibition that everybody wants: an outage of a provider is told once, not once per service."""

from typing import Any

from django.db import migrations

NAME = "provider outage"
FAILURES = [{"field": "type", "op": "regex", "value": "error_rate_increase|silence"}]


def add_inhibition(apps: Any, schema_editor: Any) -> None:
    values = {"source_matchers": FAILURES, "target_matchers": FAILURES, "equal": ["provider"], "min_services": 3}
    rows = apps.get_model("alerting", "Inhibition").objects.using(schema_editor.connection.alias)
    rows.get_or_create(name=NAME, defaults=values)


class Migration(migrations.Migration):
    dependencies = [("alerting", "0003_life_of_alerts")]
    operations = [migrations.RunPython(add_inhibition, migrations.RunPython.noop)]
