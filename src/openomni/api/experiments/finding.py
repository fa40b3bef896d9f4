"""An experiment by its name, within a project."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from ..ground.caller import Caller
from ..ground.errors import not_found
from ..look.project_page import here
from .models import Experiment

CLOSE = 1000
"""Among so many the nearest name is looked for."""


def find(caller: Caller, name: str) -> Experiment:
    """Of the caller's project. Raises Refusal, 404, with the nearest name."""
    found: Experiment | None = named(caller.project_id, name).first()
    known = Experiment.objects.of_caller(caller).values_list("name", flat=True)[:CLOSE]
    return found or not_found("experiment", name, known)


def of_page(request: HttpRequest, name: str) -> Experiment:
    """Of the project that a page is of. Raises Http404."""
    found: Experiment | None = named(here(request).project, name).first()
    if found is None:
        raise Http404(f"there is no experiment {name!r} in this project")
    return found


def named(project_id: str, name: str) -> QuerySet[Experiment]:
    """It, with its dataset, or nothing."""
    return Experiment.objects.filter(project_id=project_id, name=name).select_related("dataset__dataset")
