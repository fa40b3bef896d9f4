from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status

from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import conflict, not_found
from ..ground.fields import Body, Line, Moment, Name, SlugOrNone
from ..ground.paging import Page, Paging, page
from ..places.named_rows import change, create, find, with_site
from .models import Consent, Participant, Purpose

router = Router(tags=["places"])


class ConsentOut(Schema):
    purpose: Purpose
    given_at: datetime
    withdrawn_at: datetime | None
    evidence: str


class ParticipantNew(Body):
    code: str = Field(min_length=1, max_length=40)
    name: Name = ""
    site: SlugOrNone = Field("", description="slug of the site where they are")
    notes: Line = ""


class ParticipantOut(Schema):
    code: str
    name: str
    site: str
    notes: str
    created_at: datetime
    consents: list[ConsentOut]

    @staticmethod
    def resolve_site(participant: Participant) -> str:
        return participant.site.slug if participant.site else ""


class ParticipantChange(Body):
    name: Name | None = None
    site: SlugOrNone | None = None
    notes: Line | None = None


class ConsentNew(Body):
    """`given_at` is now where it is left out."""

    purpose: Purpose = Field(strict=False)
    given_at: Moment | None = None
    evidence: str = Field("", max_length=500)


def _participants(request: AuthedRequest) -> Any:
    return Participant.objects.scoped(request).select_related("site").prefetch_related("consents")


@router.get("/participants", auth=allow(Scope.RESEARCHER), response=Page[ParticipantOut])
def list_participants(request: AuthedRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(_participants(request), paging, "code")


@router.post("/participants", auth=allow(Scope.RESEARCHER), response={201: ParticipantOut}, openapi_extra=also(409))
def create_participant(request: AuthedRequest, payload: ParticipantNew) -> Any:
    return Status(201, create(request, Participant, "code", with_site(request, payload.dict())))


@router.get("/participants/{code}", auth=allow(Scope.RESEARCHER), response=ParticipantOut)
def get_participant(request: AuthedRequest, code: str) -> Participant:
    return find(request, Participant, "code", code)


@router.patch("/participants/{code}", auth=allow(Scope.RESEARCHER), response=ParticipantOut)
def change_participant(request: AuthedRequest, code: str, payload: ParticipantChange) -> Participant:
    return change(
        request, find(request, Participant, "code", code), with_site(request, payload.dict(exclude_unset=True))
    )


@router.post(
    "/participants/{code}/consents",
    auth=allow(Scope.RESEARCHER),
    response={201: ParticipantOut},
    openapi_extra=also(409),
)
def give_consent(request: AuthedRequest, code: str, payload: ConsentNew) -> Any:
    participant = find(request, Participant, "code", code)
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
    participant = find(request, Participant, "code", code)
    if (
        not Consent.objects.scoped(request)
        .filter(participant=participant, purpose=purpose, withdrawn_at=None)
        .update(withdrawn_at=timezone.now())
    ):
        not_found("consent in force of", purpose.value)
    participant.refresh_from_db()
    return participant
