from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status

from ..accounts.models import Scope
from ..auth import AuthedRequest, allow, limited_to
from ..errors import Refusal, conflict, not_found
from ..paging import Page, Paging, page
from ..scoping import ProjectQuerySet
from .models import Consent, Device, Participant, Purpose, Site

router = Router(tags=["places"])
Row = TypeVar("Row", Site, Device, Participant)

Slug = Field(min_length=1, max_length=40, pattern=r"^[a-z0-9][a-z0-9-]*$")
Name = Field(min_length=1, max_length=200)


class SiteNew(Schema):
    slug: str = Slug
    name: str = Name
    notes: str = ""


class SiteOut(SiteNew):
    created_at: datetime


class SiteChange(Schema):
    name: str | None = Field(None, min_length=1, max_length=200)
    notes: str | None = None


@router.get("/sites", auth=allow(Scope.VIEWER), response=Page[SiteOut])
def list_sites(request: AuthedRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(Site.objects.scoped(request), paging, "slug")


@router.post("/sites", auth=allow(Scope.RESEARCHER), response={201: SiteOut})
def create_site(request: AuthedRequest, payload: SiteNew) -> Any:
    return Status(201, _create(request, Site, "slug", payload.dict()))


@router.get("/sites/{slug}", auth=allow(Scope.VIEWER), response=SiteOut)
def get_site(request: AuthedRequest, slug: str) -> Site:
    return _find(request, Site, "slug", slug)


@router.patch("/sites/{slug}", auth=allow(Scope.RESEARCHER), response=SiteOut)
def change_site(request: AuthedRequest, slug: str, payload: SiteChange) -> Site:
    return _change(request, _find(request, Site, "slug", slug), payload.dict(exclude_none=True))


# ---- devices -------------------------------------------------------------------------------------------------


class DeviceNew(SiteNew):
    site: str = Field("", description="slug of its site")


class DeviceOut(DeviceNew):
    created_at: datetime
    last_seen: datetime | None

    @staticmethod
    def resolve_site(device: Device) -> str:
        return device.site.slug if device.site else ""


class DeviceChange(SiteChange):
    site: str | None = None


@router.get("/devices", auth=allow(Scope.VIEWER), response=Page[DeviceOut])
def list_devices(request: AuthedRequest, paging: Query[Paging], site: str = "") -> dict[str, Any]:
    rows = Device.objects.scoped(request).select_related("site")
    return page(rows.filter(site__slug=site) if site else rows, paging, "slug")


@router.post("/devices", auth=allow(Scope.RESEARCHER), response={201: DeviceOut})
def create_device(request: AuthedRequest, payload: DeviceNew) -> Any:
    return Status(201, _create(request, Device, "slug", _with_site(request, payload.dict())))


@router.get("/devices/{slug}", auth=allow(Scope.VIEWER), response=DeviceOut)
def get_device(request: AuthedRequest, slug: str) -> Device:
    return _find(request, Device, "slug", slug)


@router.patch("/devices/{slug}", auth=allow(Scope.RESEARCHER), response=DeviceOut)
def change_device(request: AuthedRequest, slug: str, payload: DeviceChange) -> Device:
    return _change(request, _find(request, Device, "slug", slug), _with_site(request, payload.dict(exclude_none=True)))


# ---- participants --------------------------------------------------------------------------------------------


class ConsentOut(Schema):
    purpose: str
    given_at: datetime
    withdrawn_at: datetime | None
    evidence: str


class ParticipantNew(Schema):
    code: str = Field(min_length=1, max_length=40)
    name: str = Field("", max_length=200)
    site: str = Field("", description="slug of the site where they are")
    notes: str = ""


class ParticipantOut(ParticipantNew):
    created_at: datetime
    consents: list[ConsentOut]

    @staticmethod
    def resolve_site(participant: Participant) -> str:
        return participant.site.slug if participant.site else ""


class ParticipantChange(Schema):
    name: str | None = Field(None, max_length=200)
    site: str | None = None
    notes: str | None = None


class ConsentNew(Schema):
    purpose: Purpose
    given_at: datetime | None = None
    evidence: str = Field("", max_length=500)


def _participants(request: AuthedRequest) -> Any:
    return Participant.objects.scoped(request).select_related("site").prefetch_related("consents")


@router.get("/participants", auth=allow(Scope.ANNOTATOR), response=Page[ParticipantOut])
def list_participants(request: AuthedRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_participants(request), paging, "code")


@router.post("/participants", auth=allow(Scope.RESEARCHER), response={201: ParticipantOut})
def create_participant(request: AuthedRequest, payload: ParticipantNew) -> Any:
    return Status(201, _create(request, Participant, "code", _with_site(request, payload.dict())))


@router.get("/participants/{code}", auth=allow(Scope.ANNOTATOR), response=ParticipantOut)
def get_participant(request: AuthedRequest, code: str) -> Participant:
    return _find(request, Participant, "code", code)


@router.patch("/participants/{code}", auth=allow(Scope.RESEARCHER), response=ParticipantOut)
def change_participant(request: AuthedRequest, code: str, payload: ParticipantChange) -> Participant:
    return _change(
        request, _find(request, Participant, "code", code), _with_site(request, payload.dict(exclude_none=True))
    )


@router.post("/participants/{code}/consents", auth=allow(Scope.RESEARCHER), response={201: ParticipantOut})
def give_consent(request: AuthedRequest, code: str, payload: ConsentNew) -> Any:
    participant = _find(request, Participant, "code", code)
    with transaction.atomic():
        if participant.consents.filter(purpose=payload.purpose, withdrawn_at=None).exists():
            conflict(f"{code} has agreed to {payload.purpose.label} already; withdraw that first")
        participant.consents.create(
            project_id=participant.project_id,
            purpose=payload.purpose,
            given_at=payload.given_at or timezone.now(),
            evidence=payload.evidence,
        )
    return Status(201, _participants(request).get(pk=participant.pk))


@router.delete("/participants/{code}/consents/{purpose}", auth=allow(Scope.RESEARCHER), response=ParticipantOut)
def withdraw_consent(request: AuthedRequest, code: str, purpose: Purpose) -> Participant:
    """Ends the consent now; that it was given stays on record."""
    participant = _find(request, Participant, "code", code)
    if (
        not Consent.objects.scoped(request)
        .filter(participant=participant, purpose=purpose, withdrawn_at=None)
        .update(withdrawn_at=timezone.now())
    ):
        not_found("consent in force of", purpose.value)
    participant.refresh_from_db()
    return participant


# ---- what all three share ------------------------------------------------------------------------------------


def _find(request: AuthedRequest, model: type[Row], key: str, name: str) -> Row:
    rows = _owned(model).scoped(request)
    row = rows.filter(**{key: name}).first()
    if row is None:
        not_found(model.__name__.lower(), name, rows.values_list(key, flat=True))
    return row


def _create(request: AuthedRequest, model: type[Row], key: str, values: dict[str, Any]) -> Row:
    name = values[key]
    with transaction.atomic():
        row, made = _owned(model).get_or_create(
            project_id=request.auth.project_id, **{key: name}, defaults={k: v for k, v in values.items() if k != key}
        )
        if made:
            _check_own(request, row)
    if not made:
        conflict(f"there is a {model.__name__.lower()} {name!r} already; change it with PATCH, or choose another {key}")
    return row


def _change(request: AuthedRequest, row: Row, values: dict[str, Any]) -> Row:
    for field, value in values.items():
        setattr(row, field, value)
    with transaction.atomic():
        row.save(update_fields=list(values))
        _check_own(request, row)
    return row


def _check_own(request: AuthedRequest, row: Row) -> None:
    """Nobody who is limited to a place makes or moves anything beyond it. Raises `Refusal`, to undo it."""
    if not _owned(type(row)).scoped(request).filter(pk=row.pk).exists():
        what = type(row).__name__.lower()
        raise Refusal(403, f"this token is limited to {limited_to(request.auth)}, and the {what} would not be of it")


def _with_site(request: AuthedRequest, values: dict[str, Any]) -> dict[str, Any]:
    """The values with the site itself in place of its slug; an empty slug is the caller's own site, or none."""
    if "site" in values:
        slug = values["site"] or request.auth.site
        values["site"] = _find(request, Site, "slug", slug) if slug else None
    return values


def _owned(model: type[Row]) -> ProjectQuerySet[Row]:
    rows = model._default_manager.all()
    assert isinstance(rows, ProjectQuerySet)
    return rows
