"""What was heard of a session, and where on its axis: the person's recordings, and the replies as far as they were
played.

A reply begins where its playback did (`playback_started`; where no client told it, where it was sent) and ends where it
ended: what was made and never heard, because somebody interrupted it, is left out. A turn of a queued recording was
heard by nobody; its reply lies where it was ready.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from django.db.models import Q

from ...events import AXIS_RATE
from ..records.models import Recording, Segment, Session, TimePoint, Turn
from .recording_sound import length_of

LONGEST = 18 * 3600 * AXIS_RATE
"""Samples of a session at most: a WAV file can't say more than 4 GiB, and nobody listens to more."""
BEGINNINGS = ("playback_started", "reply_sent", "first_sound")
"""Time points where a reply began to be heard, the surest first."""
_POINTS = (*BEGINNINGS, "interrupted", "playback_ended")


@dataclass(frozen=True, slots=True)
class Placed:
    """A recording on the axis: from `start` on, `length` samples of it (16 kHz)."""

    recording: Recording
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class TurnPlace:
    """A turn on the axis, in seconds: where the person began and ended, and what was heard of the reply. None: not
    known. `cut_s`: where a reply that was interrupted ended."""

    start_s: float | None
    end_s: float | None
    reply_s: float | None
    cut_s: float | None


@dataclass(slots=True)
class ConversationTracks:
    """What is to be heard. `waiting`: recordings whose bytes are not all here yet."""

    left: list[Placed] = field(default_factory=list)
    right: list[Placed] = field(default_factory=list)
    waiting: int = 0

    @property
    def samples(self) -> int:
        return min(max((each.end for each in (*self.left, *self.right)), default=0), LONGEST)

    def up_to(self, end_s: float) -> ConversationTracks:
        """What is heard of it before `end_s`, in seconds of the session."""
        end = round(end_s * AXIS_RATE)
        left, right = (
            [replace(each, length=min(each.length, end - each.start)) for each in track if each.start < end]
            for track in (self.left, self.right)
        )
        return ConversationTracks(left, right, self.waiting)

    @property
    def etag(self) -> str:
        """Another one whenever it would sound different."""
        parts = [
            f"{track} {each.recording.pk} {each.recording.received} {each.start} {each.length}"
            for track, placed in (("left", self.left), ("right", self.right))
            for each in placed
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def heard(session: Session) -> ConversationTracks:
    """All of a session, in four queries."""
    turns = list(session.turns.filter(project_id=session.project_id).order_by("index"))
    return tracks_of(session, turns, places_of(session, turns))


def tracks_of(session: Session, turns: Sequence[Turn], places: dict[str, TurnPlace]) -> ConversationTracks:
    """One query, and a look at each file's head."""
    ours = Q(session=session) | Q(pk__in=[key for key in session.recordings if isinstance(key, str)])
    found = Recording.objects.filter(ours, project_id=session.project_id).order_by("created_at", "pk")
    recordings = {each.pk: each for each in found}
    tracks = ConversationTracks(waiting=sum(each.status != Recording.Status.COMPLETE for each in recordings.values()))
    spoken = [each for each in recordings.values() if each.kind == Recording.Kind.AUDIO]
    # A video file that was replayed has its sound in it; pictures beside a sound of their own have none.
    for recording in spoken or [each for each in recordings.values() if each.kind == Recording.Kind.VIDEO]:
        if length := length_of(recording):
            tracks.left.append(Placed(recording, recording.position, length))
    for turn in turns:
        place, reply = places[turn.pk], recordings.get(turn.reply_audio)
        if turn.reply_audio and reply is None:
            tracks.waiting += 1
        if reply is None or place.reply_s is None or not (length := length_of(reply)):
            continue
        if place.cut_s is not None:
            length = min(length, round((place.cut_s - place.reply_s) * AXIS_RATE))
        if length > 0:
            tracks.right.append(Placed(reply, max(round(place.reply_s * AXIS_RATE), 0), length))
    return tracks


def places_of(session: Session, turns: Sequence[Turn]) -> dict[str, TurnPlace]:
    """Turn → its place. Two queries, however many turns there are."""
    points, spoken = _points(session), _spoken(session)
    began = _beginning(session, turns, spoken)
    return {turn.pk: _place(turn, points.get(turn.pk, {}), spoken.get(turn.pk), began) for turn in turns}


def _place(turn: Turn, at: dict[str, float], spoken: tuple[int, int] | None, began: float | None) -> TurnPlace:
    start: float | None
    zero: float | None
    if spoken is not None:
        start, zero = (sample / AXIS_RATE for sample in spoken)
    else:
        # Typed, or the agent speaks first: placed by the wall clock.
        known = turn.started_at is not None and began is not None
        start = zero = max(turn.started_at.timestamp() - began, 0.0) if known else None  # type: ignore[union-attr,operator]
    said = next((at[name] for name in BEGINNINGS if name in at), None)
    if zero is None or said is None:
        return TurnPlace(start, zero, None, None)
    end = at.get("playback_ended", at.get("interrupted")) if turn.interrupted else None
    return TurnPlace(start, zero, zero + said, None if end is None else zero + max(end, said))


def _points(session: Session) -> dict[str, dict[str, float]]:
    """Turn → time point → seconds from its last user speech sample."""
    rows = TimePoint.objects.filter(turn__session=session, project_id=session.project_id, name__in=_POINTS)
    found: dict[str, dict[str, float]] = {}
    for turn_id, name, at in rows.values_list("turn_id", "name", "at_s"):
        found.setdefault(turn_id, {})[name] = at
    return found


def _spoken(session: Session) -> dict[str, tuple[int, int]]:
    """Turn → samples from its first to its last of the person's speech; what they said beside the reply left out."""
    rows = Segment.objects.filter(session=session, project_id=session.project_id, speaker="user").order_by("start")
    found: dict[str, tuple[int, int]] = {}
    for turn_id, start, end in rows.values_list("turn_id", "start", "end"):
        found.setdefault(turn_id, (start, end))
    return found


def _beginning(session: Session, turns: Iterable[Turn], spoken: dict[str, tuple[int, int]]) -> float | None:
    """Unix time of the axis's zero: as the turns with speech say, else as the session does."""
    said = [
        turn.started_at.timestamp() - spoken[turn.pk][0] / AXIS_RATE
        for turn in turns
        if turn.pk in spoken and turn.started_at
    ]
    if said:
        return float(np.median(said))
    return session.started_at.timestamp() if session.started_at else None
