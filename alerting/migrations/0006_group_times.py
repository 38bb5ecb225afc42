from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerting", "0005_channel_health")]
    operations = [
        migrations.AddField(
            model_name="alertgroup",
            name="retold_at",
            field=models.DateTimeField(
                blank=True, help_text="when all of it was told: repeats count from here", null=True
            ),
        ),
        migrations.AddField(
            model_name="alertgroup",
            name="owed_at",
            field=models.DateTimeField(
                blank=True,
                help_text="when a channel may hear of it that had heard the same within the window",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="groupmember",
            name="is_settled",
            field=models.BooleanField(default=False, help_text="nothing more is to be told of it"),
        ),
        migrations.AddIndex(
            model_name="groupmember",
            index=models.Index(fields=["group"], condition=models.Q(is_settled=False), name="member_unsettled"),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(fields=["started_at"], name="attempt_started"),
        ),
    ]
