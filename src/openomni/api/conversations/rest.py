"""The sound of sessions over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, BinaryIO, cast

from django.core.cache import cache
from django.http import HttpResponse, HttpResponseBase
from ninja import Query, Router, Schema, Status

from ...events import AXIS_RATE
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import Refusal, not_found
from ..ground.file_response import deliver
from ..records.models import Session
from . import picture, session_wav
from .tracks import ConversationTracks, heard

router = Router(tags=["conversations"])
PEAKS_KEPT = 3600
"""Seconds that a picture of a session's sound is remembered."""


class PeaksOut(Schema):
    """The greatest amplitude, 0…1, of both tracks in as many equal stretches. `waiting`: recordings that are not
    complete."""

    seconds: float
    left: list[float]
    right: list[float]
    waiting: int


@router.api_operation(
    ["GET", "HEAD"],
    "/sessions/{session_id}/recording",
    auth=allow(Scope.VIEWER),
    summary="A session as it sounded",
    openapi_extra=also(gives="audio/wav"),
)
def session_recording(request: AuthedRequest, session_id: str) -> HttpResponseBase:
    """A stereo WAV at 16 kHz, whole or a range: the person on the left, the replies on the right, each where and as far
    as it was heard. Of a session that is still open, or whose recordings are still on their way, what is here so far;
    `OpenOmni-Waiting` says how many of them are not complete. 404 where nothing that sounds has come."""
    session, tracks = _heard(request, session_id)
    if not tracks.samples:
        why = f"{tracks.waiting} recordings are on their way" if tracks.waiting else "nothing of it was recorded"
        raise Refusal(404, f"there is no sound of session {session_id}: {why}", waiting=tracks.waiting)
    file = cast(BinaryIO, session_wav.TwoTracks(tracks))
    response = deliver(request, file, "audio/wav", f"{session.pk}.wav", tracks.etag)
    response["OpenOmni-Waiting"] = str(tracks.waiting)
    return response


@router.get(
    "/sessions/{session_id}/recording/peaks", auth=allow(Scope.VIEWER),
    response={200: PeaksOut, 304: None}, summary="A picture of a session's sound",
)  # fmt: skip
def session_peaks(
    request: AuthedRequest, response: HttpResponse, session_id: str, points: Annotated[int, Query(ge=1, le=4000)] = 800
) -> Any:
    """Made once for each state of the recordings; a client that has it already is told so (ETag)."""
    _, tracks = _heard(request, session_id)
    etag = f'"{tracks.etag}-{points}"'
    response["ETag"], response["Cache-Control"] = etag, "private, no-cache"
    if request.headers.get("If-None-Match") == etag:
        return Status(304, None)
    made = cache.get(etag)
    if made is None:
        made = picture.peaks(tracks, points)
        cache.set(etag, made, PEAKS_KEPT)
    left, right = made
    return {"seconds": tracks.samples / AXIS_RATE, "left": left, "right": right, "waiting": tracks.waiting}


def _heard(request: AuthedRequest, session_id: str) -> tuple[Session, ConversationTracks]:
    session = Session.objects.scoped(request).filter(pk=session_id).first() or not_found("session", session_id)
    return session, heard(session)
