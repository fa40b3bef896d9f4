"""Datasets over HTTP: kept once and for good, listed, and read sample by sample."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from django.db.models import Prefetch
from ninja import Path, Query, Router, Status

from ... import bounds
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import bad_request
from ..ground.fields import NewId
from ..ground.paging import Page, Paging, page
from . import keeping, making
from .keeping import About
from .models import DatasetSample, DatasetVersion
from .reading import datasets_of, version_named
from .schemas import (
    DatasetName,
    DatasetNew,
    DatasetOut,
    DatasetVersionOut,
    MadeOut,
    PartReceived,
    RecordedNew,
    SampleOut,
    SamplesNew,
)

router = Router(tags=["datasets"])
READERS = allow(Scope.VIEWER, whole=True)
MAKERS = allow(Scope.RESEARCHER, whole=True)
"""A dataset is the whole project's."""
TURNS = {
    "session": "session_id",
    "pipeline": "pipeline",
    "tag": "tags__tag__name",
    "participant": "participant",
    "device": "session__device",
    "since": "created_at__gte",
    "until": "created_at__lt",
}
"""What one asks for → the condition on a turn."""
Version = Annotated[int | None, Query(ge=1, le=bounds.MAX_PLACE, description="left out: the newest")]


@router.get("/datasets", auth=READERS, response=Page[DatasetOut], summary="Datasets, by name")
def list_datasets(request: AuthedRequest, paging: Query[Paging]) -> Any:
    """Each with its newest version."""
    versions = DatasetVersion.objects.order_by("-number").defer("sheet", "derivation", "source")
    rows = datasets_of(request.auth).prefetch_related(Prefetch("versions", versions))
    found = page(rows, paging, "name")
    return {**found, "items": [DatasetOut.of(row) for row in found["items"]]}


@router.post(
    "/datasets",
    auth=MAKERS,
    response={201: DatasetVersionOut},
    summary="Keep a dataset",
    openapi_extra=also(404, 409, 429),
)
def create_dataset(request: AuthedRequest, payload: DatasetNew) -> Any:
    """The same content is the same version of a name, however often it is sent; another gets the next number. What its
    samples name are recordings of this project, complete."""
    if (payload.samples is None) == (payload.draft is None):
        bad_request("send either `samples`, or the `draft` that they were sent to")
    told = payload.derived_from
    about = About(
        name=payload.name,
        source=payload.source,
        derived_from=version_named(request.auth, told) if told else None,
        derivation=payload.derivation,
        hash=payload.hash,
    )
    if payload.samples is not None:
        return Status(201, keeping.keep(request.auth, uuid.uuid4().hex, payload.samples, about, payload.pairs))
    assert payload.draft is not None
    return Status(201, keeping.freeze(request.auth, payload.draft, about))


@router.post(
    "/dataset-drafts/{draft}/samples",
    auth=MAKERS,
    response={202: PartReceived},
    summary="Send samples of a dataset in parts",
    openapi_extra=also(404, 409, 429),
)
def add_samples(request: AuthedRequest, draft: NewId, payload: SamplesNew) -> Any:
    """The first part, at offset 0, makes the draft, under an id of the sender's making; nobody sees it until it is kept
    by POST to `/datasets`. 409 with `received`: go on from there."""
    return Status(202, {"received": keeping.add(request.auth, draft, payload.offset, payload.samples, payload.pairs)})


@router.post(
    "/datasets/{name}/recorded",
    auth=MAKERS,
    response={201: MadeOut},
    summary="Make a dataset of what was recorded",
    openapi_extra=also(400, 409, 429),
)
def make_dataset(request: AuthedRequest, name: Annotated[DatasetName, Path()], payload: RecordedNew) -> Any:
    """The samples are stretches of recordings that are here already. `text` is there where somebody corrected what was
    recognised; what was recognised is in `fields.heard`."""
    if (payload.turns is None) == (payload.sessions is None):
        bad_request("say which `turns`, or which `sessions`")
    if payload.sessions is not None:
        made = making.of_sessions(request.auth, name, payload.sessions)
    else:
        assert payload.turns is not None
        given = {key: value for key, value in payload.turns.dict().items() if value}
        told = ", ".join(f"{key}={value}" for key, value in given.items())
        wanted = {TURNS[key]: value for key, value in given.items()}
        made = making.of_turns(request.auth, name, f"turns: {told or 'all'}", **wanted)
    return Status(201, {"kept": made.version, "left_out": made.left_out})


@router.get("/datasets/{name}", auth=READERS, response=DatasetVersionOut, summary="One version of a dataset")
def get_dataset(request: AuthedRequest, name: str, version: Version = None) -> Any:
    """The newest, unless `version` says which."""
    return _version(request, name, version)


@router.get("/datasets/{name}/samples", auth=READERS, response=Page[SampleOut], summary="Samples of a dataset")
def list_samples(request: AuthedRequest, name: str, paging: Query[Paging], version: Version = None) -> Any:
    """In their order; the `path` of a sound is the id of its recording."""
    return page(DatasetSample.objects.filter(version=_version(request, name, version)), paging, "position")


def _version(request: AuthedRequest, name: str, version: int | None) -> DatasetVersion:
    return version_named(request.auth, name if version is None else f"{name}@{version}")
