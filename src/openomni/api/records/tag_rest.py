"""Tags over HTTP: labels and ordered groups of a project, and which turns and sessions bear them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from ninja import Field, Query, Router, Schema, Status
from pydantic import AfterValidator

from ... import bounds
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import bad_request, conflict, not_found
from ..ground.fields import Body, Line, Name
from ..ground.paging import Page, Paging, page
from ..places.named_rows import change, create, find
from .models import Session, Tag, Tagged, Turn

router = Router(tags=["tags"])
READERS = allow(Scope.VIEWER)
MAKERS = allow(Scope.RESEARCHER, whole=True)
"""A tag is the whole project's, whoever bears it."""
TAGGERS = allow(Scope.RESEARCHER)


def _name(text: str) -> str:
    if text != text.strip():
        raise ValueError(f"{text!r} begins or ends with a blank; leave it out")
    return text


TagName = Annotated[
    str,
    AfterValidator(_name),
    # It stands in paths, so it holds no '/', and is not taken for the folder that '.' or '..' is.
    Field(min_length=1, max_length=80, pattern=r"^[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$"),
]
Place = Annotated[
    int | None,
    Query(ge=0, le=bounds.MAX_PLACE, description="in an ordered group; left out: it keeps its place, or comes last"),
]


class TagNew(Body):
    name: TagName
    ordered: bool = Field(False, description="a group whose members have their places, rather than a label")
    description: Line = ""


class TagChange(Body):
    name: TagName | None = None
    description: Line | None = None


class TagOut(Schema):
    """A label of turns or sessions; an `ordered` one is a group whose members have their places."""

    name: str
    ordered: bool
    description: str
    created_at: datetime


class TaggedOut(Schema):
    """That a turn, or a session, bears a tag; `place` is its place in an ordered one."""

    tag: str
    turn_id: str | None
    session_id: str | None
    place: int | None
    created_at: datetime

    @staticmethod
    def resolve_tag(row: Tagged) -> str:
        return row.tag.name


class TaggedFilter(Schema):
    tag: Name = ""
    turn: Name = ""
    session: Name = ""


@router.get("/tags", auth=READERS, response=Page[TagOut], summary="Tags, by name")
def list_tags(request: AuthedRequest, paging: Query[Paging]) -> Any:
    """Labels and ordered groups."""
    return page(Tag.objects.scoped(request), paging, "name")


@router.post("/tags", auth=MAKERS, response={201: TagOut}, summary="Make a tag", openapi_extra=also(409))
def create_tag(request: AuthedRequest, payload: TagNew) -> Any:
    return Status(201, create(request, Tag, "name", payload.dict()))


@router.get("/tags/{tag}", auth=READERS, response=TagOut, summary="One tag")
def get_tag(request: AuthedRequest, tag: str) -> Tag:
    return find(request, Tag, "name", tag)


@router.patch("/tags/{tag}", auth=MAKERS, response=TagOut, summary="Rename a tag", openapi_extra=also(409))
def change_tag(request: AuthedRequest, tag: str, payload: TagChange) -> Tag:
    """Who bears it bears it under its new name."""
    row, values = find(request, Tag, "name", tag), payload.dict(exclude_unset=True)
    try:
        return change(request, row, values)
    except IntegrityError:
        conflict(f"there is a tag {values['name']!r} already; choose another name")


@router.delete("/tags/{tag}", auth=MAKERS, response={204: None}, summary="Delete a tag")
def delete_tag(request: AuthedRequest, tag: str) -> Any:
    """It is taken off all that bear it, which stay."""
    find(request, Tag, "name", tag).delete()
    return Status(204, None)


# ---- who bears them ------------------------------------------------------------------------------------------


@router.get("/tagged", auth=READERS, response=Page[TaggedOut], summary="What bears which tags")
def list_tagged(request: AuthedRequest, paging: Query[Paging], wanted: Query[TaggedFilter]) -> Any:
    """The members of an ordered group (`tag`) by their places; else the newest first."""
    names = {"tag": "tag__name", "turn": "turn_id", "session": "session_id"}
    chosen = {names[name]: value for name, value in wanted.dict().items() if value}
    rows = Tagged.objects.scoped(request).filter(**chosen).select_related("tag")
    group = Tag.objects.scoped(request).filter(name=wanted.tag, ordered=True).exists()
    return page(rows, paging, "place" if group else "-created_at")


@router.put("/turns/{turn_id}/tags/{tag}", auth=TAGGERS, response=TaggedOut, summary="Put a tag on a turn",
            openapi_extra=also(400, 409))  # fmt: skip
def tag_turn(request: AuthedRequest, turn_id: str, tag: str, place: Place = None) -> Any:
    """It bears it once. In an ordered group it takes the place, or moves there."""
    turn = Turn.objects.scoped(request).filter(pk=turn_id).first() or not_found("turn", turn_id)
    return _put(find(request, Tag, "name", tag), place, turn=turn)


@router.delete("/turns/{turn_id}/tags/{tag}", auth=TAGGERS, response={204: None}, summary="Take a tag off a turn")
def untag_turn(request: AuthedRequest, turn_id: str, tag: str) -> Any:
    """The other members of an ordered group keep their places."""
    return _take_off(request, "turn", turn_id, tag)


@router.put("/sessions/{session_id}/tags/{tag}", auth=TAGGERS, response=TaggedOut, summary="Put a tag on a session",
            openapi_extra=also(400, 409))  # fmt: skip
def tag_session(request: AuthedRequest, session_id: str, tag: str, place: Place = None) -> Any:
    """It bears it once; its turns do not bear it by that. In an ordered group it takes the place, or moves there."""
    session = Session.objects.scoped(request).filter(pk=session_id).first() or not_found("session", session_id)
    return _put(find(request, Tag, "name", tag), place, session=session)


@router.delete("/sessions/{session_id}/tags/{tag}", auth=TAGGERS, response={204: None},
               summary="Take a tag off a session")  # fmt: skip
def untag_session(request: AuthedRequest, session_id: str, tag: str) -> Any:
    """The other members of an ordered group keep their places."""
    return _take_off(request, "session", session_id, tag)


def _put(tag: Tag, place: int | None, **bearer: Turn | Session) -> Tagged:
    if place is not None and not tag.ordered:
        bad_request(f"{tag.name!r} is a label, whose members have no places; leave the place out")
    with transaction.atomic():
        Tag.objects.select_for_update().filter(pk=tag.pk).first()  # places are given away one after the other
        row = tag.members.filter(**bearer).first() or Tagged(project_id=tag.project_id, tag=tag, **bearer)
        if row.pk is None or place not in (None, row.place):
            row.place = _free(tag, place) if tag.ordered else None
            row.save()
    return row


def _free(tag: Tag, place: int | None) -> int:
    if place is None:
        last = tag.members.aggregate(last=Max("place"))["last"]
        place = 0 if last is None else last + 1
        if place > bounds.MAX_PLACE:
            conflict(f"nothing comes behind the last place of {tag.name!r}; choose a place before it")
    elif tag.members.filter(place=place).exists():
        conflict(f"place {place} of {tag.name!r} is taken; choose another, or move first who has it")
    return place


def _take_off(request: AuthedRequest, kind: str, key: str, tag: str) -> Any:
    worn = Tagged.objects.scoped(request).filter(**{f"{kind}_id": key})
    names = list(worn.values_list("tag__name", flat=True))
    if tag not in names:
        not_found(f"tag on {kind} {key!r} called", tag, names)
    worn.filter(tag__name=tag).delete()
    return Status(204, None)
