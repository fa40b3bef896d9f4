from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0002_turn_by_status")]

    operations = [
        migrations.AddField("turn", "pauses", models.JSONField(blank=True, default=list)),
        migrations.AddField("task", "lost_s", models.FloatField(blank=True, null=True)),
    ]
