"""Datasets of what was recorded: live turns as samples, and whole sessions as dialogues with the timing that they had.

A sample is the stretch of its recording that was recognised. What a recogniser made of it is no reference: it is kept
under `fields.heard`, and `text` is what somebody corrected it to, where somebody did.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from django.db.models import Prefetch

from ...datasets import AtTime, Sample, Sound, Utterance, checked
from ...datasets.samples import MAX_SAMPLES, MAX_UTTERANCES
from ...events import AXIS_RATE
from ..ground.caller import Caller
from ..ground.errors import Refusal, not_found
from ..ground.scoping import ProjectQuerySet
from ..records.models import Progress, Recording, Segment, Session, Turn
from . import keeping
from .keeping import About
from .models import DatasetVersion

OVER = (Progress.COMPLETED, Progress.FAILED)
LIVE = ("person", "replay")
"""Origins of turns whose sound came from a person; those of experiments and benchmarks were samples before."""
CHUNK = 500
MAX_LEFT_OUT = 1000


class Spoken(NamedTuple):
    """What was said in a turn; `start` is its place on the session's axis."""

    turn: Turn
    start: int
    utterance: Utterance


class LeftOut(NamedTuple):
    turn_id: str
    why: str


class Made(NamedTuple):
    version: DatasetVersion
    left_out: list[LeftOut]
    """Turns that have no sound to be taken."""


def of_turns(caller: Caller, name: str, source: str, **wanted: Any) -> Made:
    """Each live turn that fits `wanted` (conditions on `Turn`) is a sample; those of a session form a group."""
    rows = _live(caller).filter(**wanted).order_by("created_at", "pk")
    left_out: list[LeftOut] = []
    samples = [
        Sample(id=each.turn.pk, group=each.turn.session_id, utterances=(each.utterance,))
        for each in _spoken(caller, rows, left_out)
    ]
    return _kept(caller, name, source, samples, left_out)


def of_sessions(caller: Caller, name: str, ids: Sequence[str]) -> Made:
    """Each session is a dialogue, whose utterances come when they came."""
    ids = list(dict.fromkeys(ids))
    known = set(Session.objects.of_caller(caller).filter(pk__in=ids).values_list("pk", flat=True))
    for key in ids:
        if key not in known:
            not_found("session", key)
    left_out: list[LeftOut] = []
    of: dict[str, list[Spoken]] = defaultdict(list)
    for each in _spoken(caller, _live(caller).filter(session_id__in=ids), left_out):
        of[each.turn.session_id].append(each)
    samples = [_dialogue(key, sorted(of[key], key=lambda each: each.start)) for key in ids if of[key]]
    return _kept(caller, name, f"sessions: {', '.join(ids)}"[:2000], samples, left_out)


def _live(caller: Caller) -> ProjectQuerySet[Turn]:
    return Turn.objects.of_caller(caller).filter(live=True, origin__in=LIVE, status__in=OVER)


def _kept(caller: Caller, name: str, source: str, samples: list[Sample], left_out: list[LeftOut]) -> Made:
    if not samples:
        why = f"; the first of {len(left_out)} that fit: {left_out[0].why}" if left_out else ""
        raise Refusal(422, f"no live turn that is over and has its sound fits{why}")
    version = keeping.keep(caller, uuid.uuid4().hex, samples, About(name=name, source=source), {})
    return Made(version, left_out[:MAX_LEFT_OUT])


def _dialogue(session_id: str, spoken: Sequence[Spoken]) -> Sample:
    if len(spoken) > MAX_UTTERANCES:
        raise Refusal(422, f"session {session_id} has {len(spoken)} turns, where {MAX_UTTERANCES} are the most")
    begin = spoken[0].start
    return Sample(
        id=session_id,
        utterances=tuple(_at(each.utterance, (each.start - begin) / AXIS_RATE) for each in spoken),
    )


def _at(utterance: Utterance, seconds: float) -> Utterance:
    return msgspec.structs.replace(utterance, when=AtTime(seconds))


def _spoken(caller: Caller, rows: ProjectQuerySet[Turn], left_out: list[LeftOut]) -> Iterator[Spoken]:
    """What was said in these turns; of which it can't be had, `left_out` gets why."""
    segments = Prefetch("segments", Segment.objects.order_by("start", "id"))
    found = rows.select_related("session").prefetch_related(segments)
    if found.count() > MAX_SAMPLES:
        raise Refusal(422, f"more than {MAX_SAMPLES:,} turns fit; narrow it down")
    for turns in _chunks(found.iterator(chunk_size=CHUNK)):
        ids = {_place(turn)[0] for turn in turns}
        recordings = {row.pk: row for row in Recording.objects.of_caller(caller).filter(pk__in=ids)}
        corrected = _corrected(caller, turns)
        for turn in turns:
            made = _said(turn, recordings.get(_place(turn)[0]), corrected.get(turn.pk))
            if isinstance(made, str):
                left_out.append(LeftOut(turn.pk, made))
            else:
                yield made


def _corrected(caller: Caller, turns: Iterable[Turn]) -> dict[str, str]:
    """By the id of a turn, what somebody said that was said in it: the newest correction of its recogniser's output."""
    rows = Turn.objects.of_caller(caller).filter(reruns__in=[turn.pk for turn in turns]).order_by("created_at", "pk")
    return {row.reruns: row.transcript for row in rows if row.given.get("stt") == "corrected"}


def _place(turn: Turn) -> tuple[str, int, int]:
    """The recording, and from which sample to which of the session's axis."""
    if turn.utterance:
        return turn.utterance["recording"], turn.utterance["start"], turn.utterance["end"]
    said = next(iter(turn.segments.all()), None)  # its agent was lost before it heard the end
    return (turn.recording, said.start, said.end) if said else ("", 0, 0)


def _said(turn: Turn, recording: Recording | None, text: str | None) -> Spoken | str:
    """What was said, or why it can't be had."""
    key, start, end = _place(turn)
    if end <= start or not key:
        return "it has no sound, such as what was typed"
    if recording is None:
        return f"its recording {key} was not kept"
    if recording.status != Recording.Status.COMPLETE:
        return f"its recording {key} is still being uploaded"
    begins = 0 if turn.session.queued else recording.position
    first, last = max(start - begins, 0) / AXIS_RATE, max(end - begins, 0) / AXIS_RATE
    last = min(last, recording.seconds or last)
    if last <= first:
        return f"its recording {key} ends before it"
    said = next(iter(turn.segments.all()), None)
    heard = {"heard": turn.transcript} if turn.transcript else {}
    chosen = turn.utterance or {}
    utterance = Utterance(
        sound=Sound(key, first, last, chosen.get("track"), chosen.get("channel")),
        id=turn.pk,
        text=text,
        speaker=turn.participant or (said.participant if said else "") or turn.session.participant,
        language=turn.language,
        consent=(said.consent if said else "") or turn.session.consent,
        source=f"turn:{turn.pk}",
        fields=heard,
    )
    try:
        (utterance,) = checked(Sample(id=turn.pk, utterances=(utterance,))).utterances
    except ValueError as error:
        return str(error)
    return Spoken(turn, start, utterance)


def _chunks(rows: Iterable[Turn]) -> Iterator[list[Turn]]:
    some: list[Turn] = []
    for row in rows:
        some.append(row)
        if len(some) == CHUNK:
            yield some
            some = []
    if some:
        yield some
