"""Campaigns over HTTP: begun and followed by researchers, worked through by annotators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, BinaryIO, Literal, cast

import msgspec
from django.http import HttpResponseBase
from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status
from pydantic import AfterValidator

from ... import bounds
from ...events import AXIS_RATE
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..conversations import picture, session_wav
from ..conversations.tracks import ConversationTracks
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import Refusal, conflict, not_found
from ..ground.fields import Body, Line, Moment, Name
from ..ground.file_response import deliver
from ..ground.paging import Page, Paging, page
from ..scores.models import Target
from . import beginning, handing_in, progress, reading, spec, taking
from .models import Assignment, Campaign, CampaignAnnotator

router = Router(tags=["annotation"])
MAKERS = allow(Scope.RESEARCHER, whole=True)
ANNOTATORS = allow(Scope.ANNOTATOR)
"""Who is asked reads what they are given, and nothing else."""
MAX_ANSWERS = 256 << 10
"""Bytes of what is handed in, as JSON."""


def _bounded(given: dict[str, Any]) -> dict[str, Any]:
    if not bounds.storable_json(given) or len(msgspec.json.encode(given)) > MAX_ANSWERS:
        raise ValueError(f"it is JSON of at most {MAX_ANSWERS >> 10} KiB, without NaN and NUL")
    return given


Given = Annotated[dict[str, Any], AfterValidator(_bounded)]
Answers = Annotated[dict[str, dict[str, Any]], AfterValidator(_bounded)]


class CampaignNew(Body):
    """A campaign as its YAML text."""

    yaml: Annotated[str, Field(min_length=1, max_length=spec.MAX_TEXT)]


class CampaignChange(Body):
    """What may change while it runs."""

    status: Literal["open", "paused", "closed"] | None = None
    until: Moment | None = None
    add: list[Name] = Field([], max_length=1000, description="people who are asked from now on")
    remove: list[Name] = Field([], max_length=1000, description="people who are asked nothing more")


class Places(Schema):
    """How often somebody is asked: items × annotators an item × passes."""

    planned: int
    done: int
    leased: int


class AnnotatorOut(Schema):
    annotator: str
    done: int
    skipped: int
    removed: bool
    seconds_an_item: float | None
    last_at: datetime | None


class CampaignMetricOut(Schema):
    metric: str
    version: str


class SkippedOut(Schema):
    reason: str
    count: int


class CampaignOut(Schema):
    """A campaign, and how far it is."""

    campaign: str
    status: str
    asks: bool
    of: str
    description: str
    per_item: int
    blind: bool
    repeats: float
    until: datetime | None
    created_by: str
    created_at: datetime
    items: int
    places: Places
    metrics: list[CampaignMetricOut]
    passes: list[int]
    annotators: list[AnnotatorOut]
    skipped: list[SkippedOut]
    look_again: int
    stated: dict[str, Any]


class MineOut(Schema):
    """A campaign that the caller is asked in: what they did, and what is left for them at most."""

    campaign: str
    description: str
    of: str
    asks: bool
    done: int
    left: int


class MyCampaigns(Schema):
    campaigns: list[MineOut]


class NextOut(Schema):
    """The item that is the caller's now. Null: there is none for them; `waits`: others hold the last ones, so ask again
    later."""

    item: dict[str, Any] | None
    waits: bool
    done: int
    left: int


class DraftIn(Body):
    """What is entered and not handed in; `version` as it was read."""

    draft: Given
    version: Annotated[int, Field(ge=0, le=bounds.MAX_PLACE)]


class DraftOut(Schema):
    version: int


class HandIn(Body):
    """What is handed in: by metric, `{"answer": …}`, or `{"outcome": "not_applicable"}`, each with a `comment`."""

    answers: Answers
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    heard: Annotated[float, Field(ge=0, le=1)] | None = None
    look_again: Line = ""
    suggested: Given = {}
    next: bool = Field(False, description="whether the answer has the next item")


class SkipIn(Body):
    reason: Annotated[str, Field(min_length=1, max_length=bounds.MAX_LINE)]


class DoneOut(Schema):
    """An item that somebody has done; in training, `wrong` has what was expected otherwise, and why. `next`: where it
    was asked for."""

    assignment: int
    status: str
    wrong: list[dict[str, Any]]
    next: NextOut | None


@router.post("/campaigns", auth=MAKERS, response={201: CampaignOut}, summary="Begin a campaign",
             openapi_extra=also(400, 409))  # fmt: skip
def begin_campaign(request: AuthedRequest, payload: CampaignNew) -> Any:
    """The same again gives the one that there is; another content under its name is refused."""
    return Status(201, progress.whole(beginning.begin(request.auth, spec.parse(payload.yaml))))


@router.get("/campaigns", auth=MAKERS, response=Page[CampaignOut], summary="Campaigns, newest first")
def list_campaigns(request: AuthedRequest, paging: Query[Paging]) -> Any:
    found = page(Campaign.objects.scoped(request), paging)
    return {**found, "items": [progress.whole(each) for each in found["items"]]}


@router.get("/annotation/campaigns", auth=ANNOTATORS, response=MyCampaigns, summary="What the caller is asked")
def my_campaigns(request: AuthedRequest) -> Any:
    """Those that ask them now, newest first."""
    return {"campaigns": [
        {"campaign": each.name, "of": each.of, "asks": each.asks, **progress.mine(each, annotator),
         "description": each.content["stated"].get("description", "")}
        for each, annotator in beginning.asking(request.auth.project_id, request.auth.person_id)
    ]}  # fmt: skip


@router.get("/campaigns/{name}", auth=MAKERS, response=CampaignOut, summary="One campaign")
def get_campaign(request: AuthedRequest, name: str) -> Any:
    return progress.whole(_find(request, name))


@router.patch("/campaigns/{name}", auth=MAKERS, response=CampaignOut, summary="Change who is asked, and until when",
              openapi_extra=also(409))  # fmt: skip
def change_campaign(request: AuthedRequest, name: str, payload: CampaignChange) -> Any:
    """What was answered stays, whatever is changed. One that is closed asks nobody again."""
    campaign = _find(request, name)
    people = [beginning.found_person(campaign.project_id, each) for each in payload.add]
    gone = [_annotator_named(campaign, each) for each in payload.remove]
    closed, asked = str(Campaign.Status.CLOSED), payload.status
    if asked is not None and asked != campaign.status:
        if campaign.status == closed:
            conflict(f"the campaign {name!r} is closed; begin another one with what is left")
        campaign.status, campaign.closed_at = asked, timezone.now() if asked == closed else None
    if payload.until is not None:
        campaign.until = payload.until
    campaign.save(update_fields=["status", "until", "closed_at"])
    for person in people:
        beginning.join(campaign, person)
    for annotator in gone:
        handing_in.remove(annotator)
    return progress.whole(campaign)


@router.post("/annotation/campaigns/{name}/next", auth=ANNOTATORS, response=NextOut, summary="The next item")
def next_item(request: AuthedRequest, name: str) -> Any:
    """The one that the caller has, or the next in their own order. It is theirs until it is handed in, skipped, or
    nothing came from them for the campaign's lease."""
    return _next(beginning.asked(_find(request, name), request.auth.person_id))


@router.get(
    "/annotation/items/{int:key}", auth=ANNOTATORS, response=dict[str, Any], summary="An item that was given out"
)
def get_assignment(request: AuthedRequest, key: int) -> Any:
    """To whom it was given, to look at again, or to correct; `answers` has what they handed in."""
    return _payload(_mine(request, key))


@router.put("/annotation/items/{int:key}/draft", auth=ANNOTATORS, response=DraftOut, summary="Keep what is entered",
            openapi_extra=also(409))  # fmt: skip
def keep_draft(request: AuthedRequest, key: int, payload: DraftIn) -> Any:
    """And the item waits for the caller anew. 409 where another page of theirs was quicker."""
    return {"version": handing_in.keep_draft(_mine(request, key), payload.draft, payload.version)}


@router.post("/annotation/items/{int:key}/hand-in", auth=ANNOTATORS, response=DoneOut, summary="Hand an item in",
             openapi_extra=also(409))  # fmt: skip
def hand_in(request: AuthedRequest, key: int, payload: HandIn) -> Any:
    """The same twice counts once. One that was handed in before is corrected."""
    row, fields = _mine(request, key), payload.dict()
    then = fields.pop("next")
    given = handing_in.HandedIn(**fields, swapped=_swapped(row))
    done = handing_in.hand_in(row, given)
    told = {"assignment": done.pk, "status": done.status, "wrong": handing_in.wrong(done, given)}
    return {**told, "next": _next(done.holder) if then else None}


@router.post("/annotation/items/{int:key}/skip", auth=ANNOTATORS, response=DoneOut, summary="Skip an item",
             openapi_extra=also(409))  # fmt: skip
def skip(request: AuthedRequest, key: int, payload: SkipIn) -> Any:
    """Somebody else gets it."""
    row = handing_in.skip(_mine(request, key), payload.reason)
    return {"assignment": row.pk, "status": row.status, "wrong": [], "next": None}


class PeaksOfItem(Schema):
    """The greatest amplitude, 0…1, of both tracks in as many equal stretches."""

    seconds: float
    left: list[float]
    right: list[float]
    waiting: int


@router.api_operation(["GET", "HEAD"], "/annotation/items/{int:key}/sounds/{number}", auth=ANNOTATORS,
                      summary="What is heard of an item", openapi_extra=also(gives="audio/wav"))  # fmt: skip
def item_sound(request: AuthedRequest, key: int, number: int) -> HttpResponseBase:
    """As the sound of a session, up to the end of the turn. `number`: of which of its turns, from 1."""
    row, tracks = _tracks(request, key, number)
    if not tracks.samples:
        raise Refusal(404, "nothing of it is here to be heard", waiting=tracks.waiting)
    file = cast(BinaryIO, session_wav.TwoTracks(tracks))
    return deliver(request, file, "audio/wav", f"item-{row.pk}-{number}.wav", tracks.etag)


@router.get("/annotation/items/{int:key}/sounds/{number}/peaks", auth=ANNOTATORS, response=PeaksOfItem,
            summary="A picture of what is heard of an item")  # fmt: skip
def item_peaks(
    request: AuthedRequest, key: int, number: int, points: Annotated[int, Query(ge=1, le=4000)] = 800
) -> Any:
    _, tracks = _tracks(request, key, number)
    left, right = picture.peaks(tracks, points)
    return {"seconds": tracks.samples / AXIS_RATE, "left": left, "right": right, "waiting": tracks.waiting}


# ---- who may, and what of it ------------------------------------------------------------------------------------


def _find(request: AuthedRequest, name: str) -> Campaign:
    rows = Campaign.objects.scoped(request)
    return rows.filter(name=name).first() or not_found("campaign", name)


def _mine(request: AuthedRequest, key: int) -> Assignment:
    """An item that the caller was given. Anybody else's is not there for them."""
    person = request.auth.person_id
    rows = Assignment.objects.scoped(request).filter(pk=key, annotator__user=person, annotator__user__isnull=False)
    found = rows.select_related("item", "campaign", "annotator__rater").first()
    return found or not_found("item of yours", str(key))


def _next(annotator: CampaignAnnotator) -> dict[str, Any]:
    found = taking.take(annotator)
    told = None if found.assignment is None else _payload(found.assignment)
    return {"item": told, "waits": found.waits, **progress.mine(annotator.campaign, annotator)}


def _annotator_named(campaign: Campaign, name: str) -> CampaignAnnotator:
    found = campaign.annotators.filter(rater__name=name).first()
    if found is None:
        not_found("annotator", name, campaign.annotators.values_list("rater__name", flat=True))
    found.campaign = campaign
    return found


def _swapped(row: Assignment) -> bool:
    """Whether the second of a pair is shown first: drawn once for each annotator and item, and on record with the
    score."""
    return row.item.target == Target.PAIR and taking.drawn(row) < 0.5


def _payload(row: Assignment) -> dict[str, Any]:
    return {**reading.payload(row, _swapped(row)), "answers": handing_in.answers_of(row)}


def _tracks(request: AuthedRequest, key: int, number: int) -> tuple[Assignment, ConversationTracks]:
    row = _mine(request, key)
    turns = reading.turns_of(row.item)
    if _swapped(row):
        turns.reverse()
    if not 0 < number <= len(turns):
        not_found("turn of the item", str(number))
    return row, reading.sound_of(row.item, turns[number - 1])
