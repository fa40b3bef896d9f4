from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Query, Router, Schema

from ...pipeline import spec as pipeline_spec
from ..accounts.authentication import SERVER, allow
from ..accounts.models import Scope
from ..fleet import components
from ..fleet.placing import Placing
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import Refusal, bad_request, not_found
from ..ground.fields import Body, Text
from ..ground.paging import Page, Paging, page
from ..pipelines import catalogue, storing
from ..pipelines.catalogue import Found
from ..pipelines.models import PipelineVersion

router = Router(tags=["pipelines"])
READERS = allow(Scope.DEVICE, Scope.AGENT, Scope.VIEWER, Scope.ANNOTATOR, SERVER)


class PipelineOut(Schema):
    """A pipeline as it is now. `version` counts its contents in this project; null for a built-in one."""

    name: str
    description: str
    hash: str
    version: int | None
    builtin: bool
    spec: dict[str, Any]
    yaml: str = ""


class PipelineContent(Body):
    """A pipeline's content: YAML text, or the same as JSON, one of the two."""

    yaml: Text | None = None
    spec: dict[str, Any] | None = None

    def parse(self, where: str) -> pipeline_spec.Pipeline:
        if (self.yaml is None) == (self.spec is None):
            bad_request("send the pipeline either as `yaml` (text) or as `spec` (JSON)")
        return pipeline_spec.parse(self.yaml if self.yaml is not None else self.spec or {}, where)


class Need(Schema):
    kind: str
    component: str


class CheckedOut(Schema):
    """What is wrong with a pipeline, a line each, and the components that it needs."""

    ok: bool
    errors: list[str]
    needs: list[Need]


class Resolved(Schema):
    """A pipeline ready to run. `problems`: why it would not run now; `faults`: those that no agent that comes would
    mend; `missing`: what no live agent offers."""

    name: str
    hash: str
    version: int | None
    spec: dict[str, Any]
    problems: list[str]
    faults: list[str]
    missing: list[Need]


class VersionOut(Schema):
    version: int
    hash: str
    created_at: datetime
    spec: dict[str, Any]
    yaml: str


@router.get("/pipelines", auth=READERS, response=Page[PipelineOut], summary="The project's pipelines")
def list_pipelines(request: AuthedRequest) -> dict[str, Any]:
    return {"items": [_described(found) for found in catalogue.everything(request.auth.project_id)], "next": None}


@router.post("/pipelines/check", auth=READERS, response=CheckedOut, summary="Check without storing")
def check(request: AuthedRequest, payload: PipelineContent) -> dict[str, Any]:
    """Against the components installed on the server and those that the project's agents registered."""
    try:
        pipeline = payload.parse("pipeline")
    except pipeline_spec.PipelineError as error:
        return {"ok": False, "errors": [str(error)], "needs": []}
    errors = pipeline_spec.check(pipeline, components.schemas(request.auth.project_id))
    return {"ok": not errors, "errors": errors, "needs": _needs(pipeline.needs)}


class ContentOut(Schema):
    """What ran, or is to run, under a hash."""

    hash: str
    name: str
    spec: dict[str, Any]


@router.get("/pipelines/versions/{hash}", auth=READERS, response=ContentOut, summary="The content of a hash")
def get_content(request: AuthedRequest, hash: str) -> dict[str, Any]:
    """Agents ask for it: work names its pipeline by hash."""
    versions = PipelineVersion.objects.filter(project_id=request.auth.project_id, hash=hash)
    version = versions.select_related("pipeline").first()
    if version is None:
        raise Refusal(404, f"there is no pipeline of the hash {hash!r} in this project")
    return {"hash": version.hash, "name": version.pipeline.name, "spec": version.spec}


@router.get("/pipelines/{name}", auth=READERS, response=PipelineOut, summary="One pipeline")
def get_pipeline(request: AuthedRequest, name: str) -> dict[str, Any]:
    return _described(catalogue.find(request.auth.project_id, name))


@router.put(
    "/pipelines/{name}",
    auth=allow(Scope.RESEARCHER, whole=True),
    response=PipelineOut,
    summary="Store a pipeline",
    openapi_extra=also(409),
)
def put_pipeline(
    request: AuthedRequest, name: str, payload: PipelineContent, unchecked: bool = False
) -> dict[str, Any]:
    """Content that is new makes a version; content that was here before brings that version back.

    `unchecked` stores a pipeline whose components nobody registered yet.
    """
    pipeline = payload.parse(name)
    if pipeline.name != name:
        bad_request(f"the pipeline calls itself {pipeline.name!r}; PUT it to /pipelines/{pipeline.name}")
    project, caller = request.auth.project_id, request.auth
    problems = [] if unchecked else pipeline_spec.check(pipeline, components.schemas(project))
    if problems:
        raise Refusal(422, problems[0], errors=problems)
    storing.store(project, pipeline, payload.yaml or "", caller.person_id)
    return _described(catalogue.find(project, name))


@router.get("/pipelines/{name}/versions", auth=READERS, response=Page[VersionOut], summary="Every version")
def list_versions(request: AuthedRequest, name: str, paging: Query[Paging]) -> dict[str, Any]:
    """The newest first, those of a built-in pipeline as they ran in this project included."""
    catalogue.find(request.auth.project_id, name)
    found = page(PipelineVersion.objects.scoped(request).filter(pipeline__name=name), paging, "-number")
    return {**found, "items": [_version(version) for version in found["items"]]}


@router.get("/pipelines/{name}/versions/{which}", auth=READERS, response=VersionOut, summary="One version")
def get_version(request: AuthedRequest, name: str, which: str) -> dict[str, Any]:
    """`which` is its number or its hash."""
    rows = PipelineVersion.objects.scoped(request).filter(pipeline__name=name)
    by = {"number": int(which)} if which.isascii() and which.isdigit() and len(which) < 9 else {"hash": which}
    version = rows.filter(**by).first()
    if version is None:
        numbers = rows.values_list("number", flat=True)
        not_found(f"version of {name!r} called", which, map(str, numbers))
    return _version(version)


@router.get(
    "/pipelines/{name}/resolve",
    auth=READERS,
    response=Resolved,
    summary="What a session needs to run it",
    openapi_extra=also(400),
)
def resolve(request: AuthedRequest, name: str) -> dict[str, Any]:
    project = request.auth.project_id
    found = catalogue.find_version(project, name)
    pipeline, known, placing = found.pipeline, components.schemas(project), Placing.now(project)
    faults = pipeline_spec.check(pipeline, known)
    return {
        **_described(found),
        "problems": faults + placing.unplaced(pipeline, known),
        "faults": faults,
        "missing": _needs(placing.missing(pipeline)),
    }


def _described(found: Found) -> dict[str, Any]:
    return {
        "name": found.name,
        "description": found.description,
        "hash": found.hash,
        "version": found.version,
        "builtin": found.version is None,
        "spec": found.spec,
        "yaml": found.text,
    }


def _version(version: PipelineVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "hash": version.hash,
        "created_at": version.created_at,
        "spec": version.spec,
        "yaml": version.text,
    }


def _needs(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"kind": kind, "component": name} for kind, name in pairs]
