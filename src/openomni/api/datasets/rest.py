"""Datasets over HTTP: kept once and for good, listed, and read sample by sample."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from django.db.models import Prefetch
from ninja import Query, Router, Status

from ... import bounds
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import bad_request
from ..ground.fields import NewId
from ..ground.paging import Page, Paging, page
from . import keeping
from .keeping import About
from .models import DatasetSample, DatasetVersion
from .reading import datasets_of, version_named
from .schemas import DatasetNew, DatasetOut, Received, SampleOut, SamplesNew, VersionOut

router = Router(tags=["datasets"])
READERS = allow(Scope.VIEWER, whole=True)
MAKERS = allow(Scope.RESEARCHER, whole=True)
"""A dataset is the whole project's."""
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
    response={201: VersionOut},
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
    response={202: Received},
    summary="Send samples of a dataset in parts",
    openapi_extra=also(404, 409, 429),
)
def add_samples(request: AuthedRequest, draft: NewId, payload: SamplesNew) -> Any:
    """The first part, at offset 0, makes the draft, under an id of the sender's making; nobody sees it until it is kept
    by POST to `/datasets`. 409 with `received`: go on from there."""
    return Status(202, {"received": keeping.add(request.auth, draft, payload.offset, payload.samples, payload.pairs)})


@router.get("/datasets/{name}", auth=READERS, response=VersionOut, summary="One version of a dataset")
def get_dataset(request: AuthedRequest, name: str, version: Version = None) -> Any:
    """The newest, unless `version` says which."""
    return _version(request, name, version)


@router.get("/datasets/{name}/samples", auth=READERS, response=Page[SampleOut], summary="Samples of a dataset")
def list_samples(request: AuthedRequest, name: str, paging: Query[Paging], version: Version = None) -> Any:
    """In their order; the `path` of a sound is the id of its recording."""
    return page(DatasetSample.objects.filter(version=_version(request, name, version)), paging, "position")


def _version(request: AuthedRequest, name: str, version: int | None) -> DatasetVersion:
    return version_named(request.auth, name if version is None else f"{name}@{version}")
