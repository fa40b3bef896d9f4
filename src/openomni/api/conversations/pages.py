"""The pages of conversations: what was said in a project, and one session with its sound, its turns and their times."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ...events import AXIS_RATE
from ...latency import counts, median
from ...timeline import hours_and_minutes
from ..accounts.models import Role
from ..ground.errors import Refusal
from ..ground.paging import of_query
from ..ground.paging import page as paged
from ..look.project_page import here, page
from ..records import snapshots, waterfall
from ..records.models import UNFINISHED, Derived, Progress, Recording, Session, Task, Turn
from ..records.players import content_url, derived_url
from .tracks import TurnPlace, places_of

PER_PAGE = 25
SOON = timedelta(minutes=10)
"""How long a page looks out for what is derived of a recording that has just come."""
BADGES = {
    "open": "info", "closed": "good", "lost": "bad", "pending": "", "started": "info", "completed": "good",
    "failed": "bad", "cancelled": "warn", "superseded": "warn",
}  # fmt: skip

_WORD = re.compile(r"\s*\S+\s*")


@dataclass(slots=True)
class SessionLine:
    """What a line of the list says of a session."""

    session: Session
    badge: str
    first: str = ""
    """The first words that were said in it."""
    turns: int = 0
    waits: list[float | None] = field(default_factory=list)
    """Voice-to-voice of its turns, in seconds; those that failed or were interrupted are left out."""

    @property
    def voice_to_voice(self) -> float | None:
        return median(self.waits)


@dataclass(frozen=True, slots=True)
class TurnLine:
    """A turn as its page shows it."""

    turn: Turn
    place: TurnPlace
    badge: str
    errors: list[str]
    heard: str
    """What was heard of the reply's text."""
    unheard: str
    """The rest, of one that was interrupted."""

    @property
    def typed(self) -> bool:
        return bool(self.turn.transcript) and self.place.start_s is None

    @property
    def begins(self) -> float | None:
        """Where to play it from: a breath before the person, or where the agent begins."""
        at = self.place.start_s if self.place.start_s is not None else self.place.reply_s
        return None if at is None else max(at - 0.3, 0.0)

    @property
    def at(self) -> str:
        return "" if self.begins is None else hours_and_minutes(self.begins)

    @property
    def reply_at(self) -> str:
        return "" if self.place.reply_s is None else hours_and_minutes(self.place.reply_s)

    @property
    def heard_s(self) -> float | None:
        """How much of a reply that was interrupted was heard."""
        if self.place.cut_s is None or self.place.reply_s is None:
            return None
        return self.place.cut_s - self.place.reply_s


@dataclass(frozen=True, slots=True)
class Filed:
    """A recording as the page of its session lists it: where its bytes are, a form of them that browsers play where
    they don't play these, and of a video the strip of its pictures. Addresses are empty where there is none."""

    recording: Recording
    url: str
    playable: str
    strip: str

    @classmethod
    def of(cls, recording: Recording) -> Filed:
        made = {each.kind for each in recording.derived.all() if each.key}
        project = recording.project_id
        playable, strip = (
            derived_url(recording.pk, kind, project) if kind in made else ""
            for kind in (Derived.Kind.PLAYABLE, Derived.Kind.THUMBNAIL)
        )
        return cls(recording, content_url(project, recording.pk), playable, strip)

    @property
    def begins(self) -> float:
        """In seconds of the session."""
        return self.recording.position / AXIS_RATE

    @property
    def waits(self) -> bool:
        """Whether there will be more of it soon."""
        if self.recording.status != Recording.Status.COMPLETE:
            return True
        done = self.recording.completed_at
        fresh = done is not None and timezone.now() - done < SOON
        return fresh and self.recording.kind == Recording.Kind.VIDEO and not self.recording.derived.all()


@never_cache
@require_safe
@page()
def conversations(request: HttpRequest) -> HttpResponse:
    """The project's sessions, newest first. Those of an experiment's cells, a thousand at a time, are on its page."""
    where = here(request)
    pipeline, text = request.GET.get("pipeline", ""), request.GET.get("q", "").strip()
    sessions = Session.objects.of_user(where.user).filter(project_id=where.project)
    sessions = sessions.exclude(origin="experiment")
    rows = sessions.filter(pipeline=pipeline) if pipeline else sessions
    if text:
        said = Q(transcript__icontains=text) | Q(reply_text__icontains=text)
        rows = rows.filter(Exists(Turn.objects.filter(said, session=OuterRef("pk"))))
    try:
        found = paged(rows, of_query(request.GET.get("cursor", ""), PER_PAGE))
    except Refusal:
        return redirect("conversations")
    pipelines = sessions.exclude(pipeline="").order_by("pipeline").values_list("pipeline", flat=True).distinct()
    context = {
        "told": _told(found["items"]),
        "next": found["next"],
        "pipelines": list(pipelines),
        "pipeline": pipeline,
        "text": text,
        "chosen": bool(pipeline or text),
        "later": "cursor" in request.GET,
    }
    return render(request, "conversations/conversations.html", context)


@never_cache
@require_safe
@page()
def conversation(request: HttpRequest, session_id: str) -> HttpResponse:
    """One session. Whoever was sent its link is led into its project, if they belong to it."""
    where = here(request)
    session = _find(request, session_id)
    if session.project_id != where.project:
        return redirect(f"{request.path}?project={session.project_id}")
    turns = list(session.turns.order_by("index", "created_at"))
    places = places_of(session, turns)
    told, words = next(iter(_told([session], turns))), _words_heard(turns)
    recordings = session.recorded.filter(project_id=session.project_id).prefetch_related("derived")
    filed = [Filed.of(each) for each in recordings.order_by("created_at")]
    context = {
        "section": "conversations",
        "session": session,
        "told": told,
        "lines": [_line(turn, places[turn.pk], words.get(turn.pk)) for turn in turns],
        "recordings": [each for each in filed if not each.recording.turn_id],
        "again": where.may(Role.RESEARCHER),
        "live": session.status == Session.Status.OPEN,
        "follows": session.status == Session.Status.OPEN or any(each.waits for each in filed),
        "rest": f"/api/v1/sessions/{session.pk}",
        "project": f"?project={session.project_id}",
        "link": request.build_absolute_uri(request.path),
    }
    return render(request, "conversations/conversation.html", context)


@never_cache
@require_safe
@page()
def timeline(request: HttpRequest, session_id: str, turn_id: str) -> HttpResponse:
    """The waterfall of one turn, to be put into its session's page when somebody opens it."""
    turns = _find(request, session_id).turns.prefetch_related(*snapshots.COMPLETE_TURN)
    turn = turns.filter(pk=turn_id).first()
    if turn is None:
        raise Http404(f"there is no turn {turn_id!r} in this session")
    return HttpResponse(waterfall.draw(snapshots.turn_record(turn)))


def _find(request: HttpRequest, session_id: str) -> Session:
    session: Session | None = Session.objects.of_user(here(request).user).filter(pk=session_id).first()
    if session is None:
        raise Http404(f"there is no session {session_id!r} in your projects")
    return session


def _told(sessions: Iterable[Session], turns: Iterable[Turn] | None = None) -> list[SessionLine]:
    """One query for the turns of all of them, where they are not known."""
    told = {session.pk: SessionLine(session, BADGES[session.status]) for session in sessions}
    if turns is None:
        fields = ("session_id", "transcript", "status", "interrupted", "voice_to_voice_s")
        turns = Turn.objects.filter(session__in=told).order_by("session_id", "index").only(*fields)
    for turn in turns:
        line = told[turn.session_id]
        line.turns += 1
        line.first = line.first or turn.transcript
        if counts(turn.status, turn.interrupted, turn.voice_to_voice_s):
            line.waits.append(turn.voice_to_voice_s)
    return list(told.values())


def _words_heard(turns: Iterable[Turn]) -> dict[str, str]:
    """By turn, what its host says was heard of a reply that was interrupted."""
    cut = [turn.pk for turn in turns if turn.interrupted]
    outputs = Task.objects.filter(turn__in=cut, output__has_key="heard").values_list("turn_id", "output") if cut else ()
    return {turn: str(output["heard"]) for turn, output in outputs}


def _up_to(reply: str, heard: str) -> str:
    """As much of a reply as was heard: it begins with that, or, as earlier hosts told it, has as many words; a dash or
    a smiley is none, for nobody speaks it."""
    ahead = len(reply) - len(reply.lstrip())
    if heard and reply.startswith(heard, ahead):
        end = ahead + len(heard)
        return reply[: end + len(reply[end:]) - len(reply[end:].lstrip())]
    left = sum(map(_is_word, heard.split()))
    for found in _WORD.finditer(reply):
        left -= _is_word(found.group())
        if left < 0:
            return reply[: found.start()]
    return reply


def _is_word(token: str) -> bool:
    return any(map(str.isalnum, token))


def _line(turn: Turn, place: TurnPlace, words: str | None) -> TurnLine:
    errors: list[Any] = []
    if turn.reason and not turn.interrupted and turn.status not in UNFINISHED:
        errors.append(turn.reason)
    elif turn.status == Progress.FAILED:
        errors.append("it failed, and nobody said why; the raw data may tell more")
    spoken = turn.reply_text if words is None else _up_to(turn.reply_text, words)
    return TurnLine(turn, place, BADGES[turn.status], errors, spoken, turn.reply_text[len(spoken) :])
