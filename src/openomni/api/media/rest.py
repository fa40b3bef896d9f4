"""Recordings over HTTP: uploaded in resumable parts, served in ranges, to nobody but their project."""

from __future__ import annotations

import logging
import wave
from collections.abc import Callable
from typing import Annotated, Any, BinaryIO, Literal, TypeVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from ninja import Field, Path, Query, Router, Schema
from pydantic import AfterValidator

from ... import bounds
from ...storage import ChecksumMismatch, NotStored, OffsetMismatch, StorageError, StorageFull
from ..accounts.authentication import PROJECT_HEADER, SERVER, allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest, Caller, limited_to
from ..ground.document import also
from ..ground.errors import Refusal, bad_request, conflict, not_found
from ..ground.fields import Count, Line, Name, NewId, OneOf, PartMessage, Position, Rate, SlugOrNone, UnixTime
from ..ground.file_response import deliver
from ..ground.paging import Page, Paging, page
from ..ground.statements import Statements
from ..places.models import site_of
from ..records import snapshots, whose, writing
from ..records.media_types import takes
from ..records.models import Derived, Recording
from ..records.signals import recording_completed
from . import dropping
from .schemas import RecordingOut
from .store import storage

log = logging.getLogger("openomni.api.media")

T = TypeVar("T")

router = Router(tags=["recordings"])
# The gateway records for clients without a disk. It uploads as a part of the server, for a client's token may be over
# before its sound has come.
WRITERS = allow(Scope.DEVICE, Scope.AGENT, Scope.RESEARCHER, SERVER)
READERS = allow(Scope.DEVICE, Scope.AGENT, Scope.VIEWER)
Id = Annotated[NewId, Path()]
_recordings = Statements(Recording)
_SHA256 = "[0-9a-fA-F]{64}"
Track = Annotated[int, Field(ge=1, le=100)]


def _media_type(text: str) -> str:
    name = text.partition(";")[0].strip().lower()
    if not takes(name):
        raise ValueError(f"{text!r} is not taken here; recordings are audio/…, video/…, image/jpeg or image/png")
    return name


MediaType = Annotated[
    str,
    AfterValidator(_media_type),
    Field(max_length=bounds.MAX_NAME, description="audio/…, video/…, image/jpeg or image/png; parameters are left out"),
]


class RecordingIn(PartMessage):
    """What a recording is, as far as its maker knows when it begins. `started_at` is Unix time, 0 where it isn't
    known."""

    kind: Literal["audio", "video", "reply", "picture"] = "audio"
    media_type: MediaType = "audio/wav"
    rate: Rate | None = Field(None, description="samples a second")
    samples: Position | None = None
    started_at: UnixTime | None = None
    session_id: str = Field("", pattern=r"^[0-9A-Za-z_-]{0,64}$")
    turn_id: str = Field("", max_length=64)
    site: SlugOrNone = ""
    device: SlugOrNone = ""
    participant: Name = Field("", description="code of who is heard or seen")
    made_by: str = Field("", max_length=64, description="id of the token that a part of the server records for")
    source: Line = ""
    audio_track: Track | None = Field(None, description="which of a file's tracks of sound is meant, from 1")
    video_track: Track | None = Field(None, description="which of a file's tracks of pictures is meant")


DerivedKind = Annotated[str, OneOf("kind", *Derived.Kind.values)]


class Received(Schema):
    """Bytes that are on disk now and will stay; `complete`: they are all, and are sealed."""

    received: int
    complete: bool = False


class Completion(PartMessage):
    """What the maker knows of all bytes together."""

    sha256: str = Field(pattern=f"^{_SHA256}$")
    size: Count
    samples: Position | None = None


class RecordingFilter(Schema):
    session: Name = ""
    turn: Name = ""
    device: Name = ""
    kind: Annotated[str, OneOf("kind", "", *Recording.Kind.values)] = ""
    status: Annotated[str, OneOf("status", "", *Recording.Status.values)] = ""


@router.get("/recordings", auth=READERS, response=Page[RecordingOut])
def list_recordings(request: AuthedRequest, paging: Query[Paging], wanted: Query[RecordingFilter]) -> Any:
    """Recordings, newest first."""
    names = {"session": "session_id", "turn": "turn_id"}
    chosen = {names.get(name, name): value for name, value in wanted.dict().items() if value}
    return page(Recording.objects.scoped(request).filter(**chosen).prefetch_related("derived"), paging)


@router.put("/recordings/{recording_id}", auth=WRITERS, response=RecordingOut, openapi_extra=also(409))
def create(request: AuthedRequest, recording_id: Id, payload: RecordingIn) -> Any:
    """Says what is coming, under an id of the caller's making. Saying it again changes nothing."""
    if not request.auth.project_id:
        bad_request(f"say whose it is: send the project in the header {PROJECT_HEADER}")
    with transaction.atomic():
        own = {"project_id": request.auth.project_id, "made_by": request.auth.token_id}
        row = _recordings.locked(recording_id, **own)
        if row.project_id != request.auth.project_id:
            conflict(f"the id {recording_id} is taken; record under a new one")
        if writing.was_erased(row.project_id, "recording", recording_id):
            conflict(f"recording {recording_id} was erased, and does not come back; record under a new id")
        device = request.auth.device or payload.device
        _check_place(row, request.auth)
        if row.key and (row.kind, row.media_type) != (payload.kind, payload.media_type):
            conflict(f"{recording_id} is {row.kind} of type {row.media_type} already; record under a new id")
        row.kind, row.media_type = payload.kind, payload.media_type
        row.device = row.device or device
        row.site = row.site or request.auth.site or payload.site or site_of(row.project_id, row.device)
        row.rate, row.turn_id = row.rate or payload.rate, row.turn_id or payload.turn_id
        row.made_by = row.made_by or _told_by_server(request.auth, payload)
        row.source = row.source or payload.source
        row.audio_track, row.video_track = (
            row.audio_track or payload.audio_track,
            row.video_track or payload.video_track,
        )
        row.samples = row.samples if payload.samples is None else payload.samples
        row.started_at = row.started_at or snapshots.moment(payload.started_at)
        if payload.session_id and row.session_id is None:
            row.session = _session(request.auth, payload.session_id)
        if payload.participant and not row.participant:
            row.participant = payload.participant
            row.consent = whose.agreed(row.project_id, row.participant, at=row.started_at)
        row.key = row.key or row.place()
        _recordings.save(row)
        if row.session and not row.participant:
            whose.pass_on(row.session)
            row.refresh_from_db(fields=["participant", "consent"])
    row.received = storage().size(row.key)  # where an upload goes on
    return row


@router.patch(
    "/recordings/{recording_id}",
    auth=WRITERS,
    response=Received,
    openapi_extra=also(409, 507, takes="application/octet-stream"),
)
def append(
    request: AuthedRequest,
    recording_id: Id,
    offset: Annotated[int, Query(ge=0, le=bounds.MAX_INT)],
    samples: Annotated[
        int | None, Query(ge=0, le=bounds.MAX_POSITION, description="samples that the bytes so far hold")
    ] = None,
    sha256: Annotated[
        str, Query(pattern=f"^({_SHA256})?$", description="of all bytes, where this part is the last: they are sealed")
    ] = "",
) -> Any:
    """Adds the body at `offset`; the answer comes when it is safe on disk. 409 with `received`: go on from there.

    With `sha256` the recording is complete by it, as by POST to `/complete`; 422 where the bytes are others.
    """
    row = _mine(request, recording_id)
    try:
        body = request.body
    except RequestDataTooBig:
        raise Refusal(413, "this part is too big; upload at most 16 MiB at a time") from None
    if not row.key:
        conflict(f"say what {recording_id} is first: PUT /api/v1/recordings/{recording_id}")
    received = _stored(row, row.key, lambda: storage().write(row.key, offset, body))
    if sha256:
        _seal(row, sha256, received, samples)
        return {"received": received, "complete": True}
    row.samples, row.rate = _measured(row, samples)
    # Of two parts whose answers overtake each other, the longer tells the truth.
    shorter = Recording.objects.filter(pk=row.pk, received__lte=received).exclude(status=Recording.Status.COMPLETE)
    if not shorter.update(received=received, status=Recording.Status.RECEIVING, samples=row.samples, rate=row.rate):
        _check_kept(row)
    return {"received": received}


@router.post("/recordings/{recording_id}/complete", auth=WRITERS, response=RecordingOut, openapi_extra=also(409, 507))
def complete(request: AuthedRequest, recording_id: Id, payload: Completion) -> Any:
    """Seals the recording when its bytes are the promised ones: only then may its maker forget them.

    422: they are not, and were dropped; upload them again from 0. 409 with `received`: some are missing.
    """
    row = _mine(request, recording_id)
    if not row.key:
        conflict(f"nothing of {recording_id} has come yet", received=0)
    if row.status == Recording.Status.COMPLETE:
        if (row.sha256, row.received) != (payload.sha256.lower(), payload.size):
            conflict(f"{recording_id} is sealed with other bytes already; record under a new id")
        return row
    _seal(row, payload.sha256, payload.size, payload.samples)
    return row


@router.get("/recordings/{recording_id}", auth=allow(*READERS.scopes, SERVER), response=RecordingOut)
def show(request: AuthedRequest, recording_id: Id) -> Any:
    """What is known of a recording, and how many of its bytes are here: where an upload goes on."""
    row = _find(request, recording_id)
    row.received = storage().size(row.key) if row.key else 0
    return row


@router.api_operation(
    ["GET", "HEAD"],
    "/recordings/{recording_id}/content",
    auth=READERS,
    url_name="content",
    openapi_extra=also(409, gives="*/*"),
)
def content(request: AuthedRequest, recording_id: Id) -> HttpResponseBase:
    """The bytes, whole or a range; of a recording still under way, those that are here."""
    row = _find(request, recording_id)
    if not row.key:
        raise Refusal(404, f"nothing of recording {recording_id} has come yet")
    return _serve(request, _stored(row, row.key, lambda: storage().open(row.key)), row)


@router.api_operation(
    ["GET", "HEAD"],
    "/recordings/{recording_id}/derived/{kind}",
    auth=READERS,
    summary="What was made of a recording",
    openapi_extra=also(409, gives="*/*"),
)
def derived(request: AuthedRequest, recording_id: Id, kind: DerivedKind) -> HttpResponseBase:
    """The bytes, whole or a range: `peaks`, how loud it is in each hundredth of a second (audiowaveform's data file,
    version 2, 8 bits); `thumbnail`, a JPEG strip of eight pictures side by side, each of the middle of an eighth of the
    video; `playable`, a form that browsers play, where they don't play the recording itself. They are made once, soon
    after it is complete; 404 until then, and for what can't be made or isn't needed."""
    row = _find(request, recording_id)
    made = row.derived.filter(kind=kind).exclude(key="").first()
    if made is None:
        raise Refusal(404, f"there is no {kind} of recording {recording_id}: {_why_not(row, kind)}")
    file = _stored(row, made.key, lambda: storage().open(made.key))
    return deliver(request, file, made.media_type, made.key.rpartition("/")[2], made.sha256)


def _why_not(row: Recording, kind: str) -> str:
    if row.status != Recording.Status.COMPLETE:
        return "it is made when the recording is complete"
    made_by = {each.kind: each.made_by for each in row.derived.all()}
    if Derived.Kind.PEAKS not in made_by or made_by.get(kind) == "":
        return "it is still to be made; ask again in a minute"
    return made_by[kind].partition(": ")[2] if kind in made_by else "none is needed, or it has nothing to make one of"


def _seal(row: Recording, sha256: str, size: int, samples: int | None) -> None:
    """Raises Refusal where the bytes that are here are not those."""
    try:
        _stored(row, row.key, lambda: storage().finish(row.key, sha256, size))
    except Refusal as refusal:
        if refusal.status_code == 422:
            Recording.objects.filter(pk=row.pk).update(received=0)
        raise
    row.status, row.received, row.sha256 = Recording.Status.COMPLETE, size, sha256.lower()
    row.completed_at, row.store = row.completed_at or timezone.now(), storage().store.name
    row.samples, row.rate = _measured(row, samples)
    fields = ("status", "store", "received", "sha256", "completed_at", "samples", "rate")
    if not _recordings.update({name: getattr(row, name) for name in fields}, id=row.pk):
        _check_kept(row)
    recording_completed.send(Recording, recording=row)


def _check_kept(row: Recording) -> None:
    """Of a recording that was deleted while bytes of it came, these go too."""
    if not Recording.objects.filter(pk=row.pk).exists():
        dropping.drop(row)
        not_found("recording", row.pk)


def _serve(request: HttpRequest, file: BinaryIO, row: Recording) -> HttpResponseBase:
    """The response for a GET or HEAD of this recording, whose bytes are in `file`."""
    return deliver(request, file, row.media_type, row.key.rpartition("/")[2], row.sha256)


def _find(request: AuthedRequest, recording_id: str) -> Recording:
    try:
        row: Recording = Recording.objects.scoped(request).get(pk=recording_id)  # unlike first(), it orders nothing
    except Recording.DoesNotExist:
        not_found("recording", recording_id)
    return row


def _mine(request: AuthedRequest, recording_id: str) -> Recording:
    row = _find(request, recording_id)
    _check_place(row, request.auth)
    return row


def _check_place(row: Recording, caller: Caller) -> None:
    if row.is_elsewhere(caller):
        raise Refusal(
            403,
            f"recording {row.pk} is another's, and this token is limited to {limited_to(caller)}; "
            "take a token of the device that made it",
        )


def _told_by_server(caller: Caller, payload: RecordingIn) -> str:
    return payload.made_by if caller.may(SERVER) else ""


def _session(caller: Caller, session_id: str) -> Any:
    try:
        return writing.placeholder(caller.project_id, session_id, caller)
    except writing.RecordRefused:
        conflict(f"the session id {session_id} is taken; make a new one")


def _stored(row: Recording, key: str, act: Callable[[], T]) -> T:
    """What the storage says of a recording's bytes under `key`, as an answer."""
    try:
        return act()
    except OffsetMismatch as error:
        raise Refusal(409, _told(error, row, key), received=error.received) from None
    except ChecksumMismatch as error:
        raise Refusal(422, _told(error, row, key), received=0) from None
    except NotStored as error:
        raise Refusal(404, _told(error, row, key)) from None
    except StorageFull as error:
        raise Refusal(507, _told(error, row, key)) from None
    except StorageError as error:
        raise Refusal(409, _told(error, row, key)) from None


def _told(error: StorageError, row: Recording, key: str) -> str:
    """What went wrong in words for a caller, whom keys and folders of the server are nothing to. Its log has them."""
    if not isinstance(error, OffsetMismatch | ChecksumMismatch | NotStored):
        log.warning("recording %s: %s", row.pk, error)
    line = str(error).replace(key, f"recording {row.pk}")
    for folder in (storage().staging.root, settings.MEDIA_ROOT):
        line = line.replace(f"the volume {folder}", "the server's disk")
    return line


def _measured(row: Recording, told: int | None) -> tuple[int | None, int | None]:
    """Samples so far and the rate: as told, or as the head of a WAV file says (one that is still being captured
    leaves its length open). Compressed sound is not decoded for it."""
    known = row.samples if told is None else told, row.rate
    if told is not None or not row.media_type.endswith("wav"):
        return known
    try:
        with storage().open(row.key) as file, wave.open(file) as sound:
            begins = file.tell()
            here = file.seek(0, 2) - begins
            return min(sound.getnframes(), here // (sound.getsampwidth() * sound.getnchannels())), sound.getframerate()
    except (wave.Error, EOFError):
        return known
