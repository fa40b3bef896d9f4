from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field, Query, Router, Schema, Status

from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.fields import Body, Line, NewName, NewSlug, SlugOrNone
from ..ground.paging import Page, Paging, page
from .models import Device, Site
from .named_rows import change, create, find, with_site

router = Router(tags=["places"])


class SiteNew(Body):
    slug: NewSlug
    name: NewName
    notes: Line = ""


class SiteOut(Schema):
    slug: str
    name: str
    notes: str
    created_at: datetime


class SiteChange(Body):
    name: NewName | None = None
    notes: Line | None = None


@router.get("/sites", auth=allow(Scope.VIEWER, Scope.ANNOTATOR), response=Page[SiteOut])
def list_sites(request: AuthedRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(Site.objects.scoped(request), paging, "slug")


@router.post("/sites", auth=allow(Scope.RESEARCHER), response={201: SiteOut}, openapi_extra=also(409))
def create_site(request: AuthedRequest, payload: SiteNew) -> Any:
    return Status(201, create(request, Site, "slug", payload.dict()))


@router.get("/sites/{slug}", auth=allow(Scope.VIEWER, Scope.ANNOTATOR), response=SiteOut)
def get_site(request: AuthedRequest, slug: str) -> Site:
    return find(request, Site, "slug", slug)


@router.patch("/sites/{slug}", auth=allow(Scope.RESEARCHER), response=SiteOut)
def change_site(request: AuthedRequest, slug: str, payload: SiteChange) -> Site:
    return change(request, find(request, Site, "slug", slug), payload.dict(exclude_unset=True))


# ---- devices -------------------------------------------------------------------------------------------------


class DeviceNew(SiteNew):
    site: SlugOrNone = Field("", description="slug of its site")


class DeviceOut(SiteOut):
    site: str
    last_seen: datetime | None

    @staticmethod
    def resolve_site(device: Device) -> str:
        return device.site.slug if device.site else ""


class DeviceChange(SiteChange):
    site: SlugOrNone | None = None


@router.get("/devices", auth=allow(Scope.VIEWER, Scope.ANNOTATOR), response=Page[DeviceOut])
def list_devices(request: AuthedRequest, paging: Query[Paging], site: Line = "") -> dict[str, Any]:
    rows = Device.objects.scoped(request).select_related("site")
    return page(rows.filter(site__slug=site) if site else rows, paging, "slug")


@router.post("/devices", auth=allow(Scope.RESEARCHER), response={201: DeviceOut}, openapi_extra=also(409))
def create_device(request: AuthedRequest, payload: DeviceNew) -> Any:
    return Status(201, create(request, Device, "slug", with_site(request, payload.dict())))


@router.get("/devices/{slug}", auth=allow(Scope.VIEWER, Scope.ANNOTATOR), response=DeviceOut)
def get_device(request: AuthedRequest, slug: str) -> Device:
    return find(request, Device, "slug", slug)


@router.patch("/devices/{slug}", auth=allow(Scope.RESEARCHER), response=DeviceOut)
def change_device(request: AuthedRequest, slug: str, payload: DeviceChange) -> Device:
    return change(request, find(request, Device, "slug", slug), with_site(request, payload.dict(exclude_unset=True)))
