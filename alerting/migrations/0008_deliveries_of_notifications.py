import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerting", "0007_carry_deliveries_over")]
    operations = [
        migrations.RemoveConstraint(model_name="delivery", name="delivery_once_per_channel"),
        migrations.RemoveIndex(model_name="delivery", name="delivery_dedup"),
        migrations.RemoveField(model_name="delivery", name="alert"),
        migrations.RemoveField(model_name="delivery", name="dedup_key"),
        migrations.AlterField(
            model_name="delivery",
            name="notification",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="alerting.notification"
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(fields=("notification", "channel"), name="delivery_once_per_channel"),
        ),
    ]
