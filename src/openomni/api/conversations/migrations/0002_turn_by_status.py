from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial")]

    operations = [
        migrations.AddIndex(
            model_name="turn",
            index=models.Index(fields=["project", "status", "-created_at"], name="turn_by_status"),
        ),
    ]
