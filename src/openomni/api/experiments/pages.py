"""The pages of experiments: all of them, one as it goes on, and stopping one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from ...errors import OpenOmniError
from ...timeline import hours_and_minutes
from ..accounts.models import Role
from ..ground.errors import Refusal
from ..ground.paging import of_query
from ..ground.paging import page as paged
from ..look.project_page import here, page
from . import cancelling, playing, progress
from .finding import of_page
from .models import Cell, Experiment
from .progress import Counts, State

PER_PAGE = 25
FAILED = 50
"""Failed cells that the page lists; REST has all of them."""
BADGES = {"running": "info", "done": "good", "cancelled": "warn"}
TONES = {"done": "good", "failed": "bad", "running": "info", "cancelled": "warn"}


@dataclass(frozen=True, slots=True)
class Bar:
    """How far something is: a piece for each status, in per cent, and the same in words."""

    label: str
    counts: Counts

    @property
    def pieces(self) -> list[tuple[str, float, float]]:
        """Colour, where it begins, and how long it is."""
        found, at = [], 0.0
        for name, tone in TONES.items():
            share = 100 * getattr(self.counts, name) / self.counts.planned if self.counts.planned else 0.0
            if share:
                found.append((f"var(--{tone})", round(at, 3), round(share, 3)))
            at += share
        return found

    @property
    def words(self) -> str:
        counts = self.counts
        more = [
            f"{getattr(counts, name):,} {word}"
            for name, word in (("running", "queued or running"), ("failed", "failed"), ("cancelled", "cancelled"))
            if getattr(counts, name)
        ]
        return ", ".join([f"{counts.run:,} of {counts.planned:,} run", *more])


@never_cache
@page(Role.VIEWER)
@require_safe
def experiments(request: HttpRequest) -> HttpResponse:
    """The project's experiments, newest first."""
    rows = Experiment.objects.filter(project_id=here(request).project).select_related("dataset__dataset")
    try:
        found = paged(rows, of_query(request.GET.get("cursor", ""), PER_PAGE))
    except Refusal:
        return redirect("experiments")
    context = {
        "shown": [_shown(state) for state in progress.states(found["items"])],
        "next": found["next"],
        "later": "cursor" in request.GET,
        "section": "experiments",
    }
    return render(request, "experiments/experiments.html", context)


@never_cache
@page(Role.VIEWER)
@require_safe
def experiment(request: HttpRequest, name: str) -> HttpResponse:
    """One experiment; `?part` gives what refreshes by itself alone."""
    row = of_page(request, name)
    state = progress.state(row)
    failed = Cell.objects.filter(experiment=row, status=Cell.Status.FAILED).select_related("sample", "pipeline")
    context = {
        **_shown(state),
        "pipelines": [Bar(each.label, counts) for each, counts in state.by_pipeline],
        "hashes": [each for each, _ in state.by_pipeline],
        "turns": progress.turns(row),
        "player": playing.words(row.player) if playing.choice_of(row) else "",
        "failed": failed.order_by("order")[:FAILED],
        "more_failed": max(failed.count() - FAILED, 0),
        "may_cancel": here(request).may(Role.RESEARCHER),
        "section": "experiments",
    }
    return render(request, "experiments/_experiment.html" if "part" in request.GET else "experiments/experiment.html",
                  context)  # fmt: skip


@page(Role.RESEARCHER)
@require_http_methods(["GET", "POST"])
def cancel(request: HttpRequest, name: str) -> HttpResponse:
    """Asks whether it is meant, then stops it."""
    row = of_page(request, name)
    if request.method != "POST":
        return render(request, "experiments/cancel.html", {**_shown(progress.state(row)), "section": "experiments"})
    try:
        cancelling.cancel(row)
        messages.success(request, f"{row.name} is cancelled: what was run stays, and run again it goes on.")
    except OpenOmniError as error:
        messages.error(request, f"{row.name} is cancelled, but not all of it is out of the queue: {error}")
    return redirect("experiment", name=row.name)


def _shown(state: State) -> dict[str, Any]:
    experiment = state.experiment
    return {
        "experiment": experiment,
        "state": state,
        "badge": BADGES[experiment.status],
        "bar": Bar("all cells", state.cells),
        "left": None if state.left_s is None else hours_and_minutes(state.left_s),
        "labels": [row.label for row, _ in state.by_pipeline],
    }
