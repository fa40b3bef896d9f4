"""Experiments for the pages' tests, made in the server's process (see `Site.fill`)."""

from __future__ import annotations

PROJECT = "default"


def clear() -> None:
    from openomni.api.datasets.models import Dataset
    from openomni.api.experiments.models import Experiment

    Experiment.objects.all().delete()
    Dataset.objects.all().delete()


def running() -> None:
    """One of three pipelines in the midst of its cells, of which some failed, and one that is done."""
    from api.experiment_rows import dataset, pipelines, sample
    from openomni.api.accounts.models import Project
    from openomni.api.experiments import starting
    from openomni.api.experiments.models import Cell, Experiment
    from openomni.api.ground.caller import Caller

    project = Project.objects.get(pk=PROJECT)
    dataset(project, *(sample(f"question-{number}") for number in range(20)))
    pipelines(project, "quick", "middling", "slow-and-thorough")
    caller = Caller(PROJECT, frozenset())
    names = ("quick", "middling", "slow-and-thorough")
    for name in ("questions-of-tuesday", "questions-of-monday"):
        starting.begin(caller, starting.Wanted("questions", names, repeats=3, name=name, margins={"wer": 0.01}))
    Cell.objects.filter(experiment__name="questions-of-monday").update(status="done")
    Experiment.objects.filter(name="questions-of-monday").update(status="done")
    of = Cell.objects.filter(experiment__name="questions-of-tuesday")
    of.filter(order__lt=100).update(status="done")
    of.filter(order__gte=100, order__lt=112).update(status="running")
    of.filter(order__in=(20, 40, 60)).update(
        status="failed", session="none", reason="3 attempts ended without an answer: the agents that ran it were lost"
    )
