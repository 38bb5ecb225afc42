from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("baselines", "0006_instructions_and_learned"),
    ]

    operations = [
        migrations.AddField(
            model_name="servedmodel",
            name="provider",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="who serves it, as its calls say; else as the price table lists it; empty = not known",
                max_length=64,
            ),
        ),
    ]
