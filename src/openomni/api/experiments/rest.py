"""Experiments over HTTP: begun, followed, given another pipeline, cancelled."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Query, Router, Schema, Status

from ...records import PlayerChoice
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.fields import Name
from ..ground.paging import Page, Paging, page
from . import cancelling, progress, queueing, starting
from .finding import find
from .models import Cell, Experiment
from .schemas import CellOut, ExperimentLine, ExperimentNew, ExperimentOut, PipelinesNew

router = Router(tags=["experiments"])
READERS = allow(Scope.VIEWER, whole=True)
"""Its cells are of the whole project, whoever is heard in them."""
MAKERS = allow(Scope.RESEARCHER, whole=True)


def _whole(experiment: Experiment) -> dict[str, Any]:
    return progress.whole(progress.state(experiment))


@router.get("/experiments", auth=READERS, response=Page[ExperimentLine], summary="Experiments, newest first")
def list_experiments(request: AuthedRequest, paging: Query[Paging]) -> Any:
    rows = Experiment.objects.scoped(request).select_related("dataset__dataset")
    found = page(rows, paging)
    return {**found, "items": [progress.told(each) for each in progress.states(found["items"])]}


@router.post("/experiments", auth=MAKERS, response={202: ExperimentOut}, summary="Run an experiment",
             openapi_extra=also(409))  # fmt: skip
def run_experiment(request: AuthedRequest, payload: ExperimentNew) -> Any:
    """The same again gives the one that there is; one that was cancelled goes on, and pipelines that it has not are
    added. Another content under its name is refused."""
    fields = payload.dict()
    player = None if payload.player is None else PlayerChoice(**payload.player.dict())
    wanted = starting.Wanted(**{**fields, "name": fields["name"] or "", "player": player})
    experiment = starting.begin(request.auth, wanted)
    queueing.room.call()
    return Status(202, _whole(experiment))


@router.get("/experiments/{name}", auth=READERS, response=ExperimentOut, summary="One experiment")
def get_experiment(request: AuthedRequest, name: str) -> Any:
    """How far it is, what became of its turns, and its manifest."""
    return _whole(find(request.auth, name))


@router.post("/experiments/{name}/pipelines", auth=MAKERS, response={202: ExperimentOut}, summary="Add pipelines",
             openapi_extra=also(409))  # fmt: skip
def add_pipelines(request: AuthedRequest, name: str, payload: PipelinesNew) -> Any:
    """Only their cells are run; those that it has already change nothing."""
    experiment = starting.add(request.auth, name, payload.pipelines)
    queueing.room.call()
    return Status(202, _whole(experiment))


@router.post("/experiments/{name}/cancel", auth=MAKERS, response=ExperimentOut, summary="Cancel an experiment")
def cancel_experiment(request: AuthedRequest, name: str) -> Any:
    """Nothing of it is queued any more, and agents stop what they run of it. What was run stays; run again it goes
    on."""
    experiment = find(request.auth, name)
    cancelling.cancel(experiment)
    return _whole(experiment)


class CellFilter(Schema):
    status: Literal["", "planned", "queued", "running", "done", "failed", "cancelled"] = ""
    pipeline: Name = ""
    sample: Name = ""


@router.get("/experiments/{name}/cells", auth=READERS, response=Page[CellOut], summary="Cells of an experiment")
def list_cells(request: AuthedRequest, name: str, paging: Query[Paging], wanted: Query[CellFilter]) -> Any:
    """In the order in which they are run."""
    names = {"status": "status", "pipeline": "pipeline__label", "sample": "sample__sample_id"}
    chosen = {names[name]: value for name, value in wanted.dict().items() if value}
    rows = Cell.objects.filter(experiment=find(request.auth, name), **chosen)
    return page(rows.select_related("sample", "pipeline"), paging, "order")
