"""Experiments for the pages' tests."""

from __future__ import annotations


def compared(name: str = "which") -> str:
    """One that has run and is scored; its first conversations have sound and times."""
    from api.experimented import experimented
    from openomni.api.accounts.models import Project
    from openomni.api.records.models import Turn
    from pages.conversation_rows import conversation

    experiment = experimented(Project.objects.get(pk="default"), name)
    for cell in experiment.cells.filter(sample__sample_id="q00", repeat=1).order_by("pipeline"):
        conversation(f"heard{cell.pipeline.place}", turns=2)
        cell.session = f"heard{cell.pipeline.place}"
        cell.save()
        Turn.objects.filter(session=cell.session).update(cell=cell.pk)
    return name


def empty(name: str = "nothing-yet") -> str:
    """One of which nothing has run."""
    from api.experimented import experimented
    from openomni.api.accounts.models import Project
    from openomni.api.records.models import Turn
    from openomni.api.scores.models import Score

    experiment = experimented(Project.objects.get(pk="default"), name, samples=6, repeats=1)
    cells = list(experiment.cells.values_list("pk", flat=True))
    Turn.objects.filter(cell__in=cells).delete()
    Score.objects.filter(target_id__in=cells).delete()
    experiment.cells.update(status="planned", session="")
    return name
