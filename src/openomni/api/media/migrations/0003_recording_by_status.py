from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("media", "0002_position_on_the_axis")]

    operations = [
        migrations.AddIndex(
            model_name="recording",
            index=models.Index(fields=["project", "status", "created_at"], name="recording_by_status"),
        ),
    ]
