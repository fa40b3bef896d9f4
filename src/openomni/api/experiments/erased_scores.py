"""Scores of cells go with them: a label, or a reason, may say what a person said who is erased."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.db.models.signals import post_delete
from django.dispatch import receiver

from ..scores.models import Score, Target
from .models import Cell


@receiver(post_delete, sender=Cell)
def with_its_scores(instance: Cell, **_: Any) -> None:
    """Those of all repeats were made of this one, too."""
    repeats = f"{instance.experiment_id}:{instance.pipeline_id}:{instance.sample_id}"
    of_it = Q(target=Target.CELL, target_id=instance.pk) | Q(target=Target.REPEATS, target_id=repeats)
    Score.objects.filter(of_it, project_id=instance.project_id).delete()
