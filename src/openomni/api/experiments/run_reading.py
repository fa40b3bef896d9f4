"""Cells as metrics are given them: the rows of their turns and stages as one value, with where each sound lies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from ...components.kinds import KINDS
from ...datasets import Sample, Sound, Utterance
from ...events import AXIS_RATE
from ...metrics import Run, RunStage, RunTurn
from ...pipeline import spec as pipeline_spec
from ...records import CalledRecord, UsageRecord
from ...storage import NotStored
from ..datasets.reading import value_of
from ..media.store import storage
from ..pipelines import catalogue
from ..pipelines.models import PipelineVersion
from ..records.models import Progress, Recording, Task, Turn
from ..records.snapshots import STAGE
from .models import Cell, Experiment, Pace
from .playing import choice_of

_STAGE = tuple(name for name in STAGE if name in RunStage.__struct_fields__)
_TURN = ("transcript", "reply_text", "outcome", "status", "reason", "interrupted", "warm", "overlap_s", "yield_s",
         "language", "given", "voice_to_voice_s")  # fmt: skip
_SPEAKS = {kind.name for kind in KINDS.values() if "voice" in kind.gives}


@dataclass(slots=True)
class Sounds:
    """Where the recordings of some cells lie, and what a person is told instead."""

    rows: dict[str, Recording]
    shown: dict[str, str] = field(default_factory=dict)
    """Path → recording, in words."""

    def of(self, recording_id: str, wanted: Sound | None = None) -> Sound | None:
        """The stretch of a recording, or all of it; None where there is no such recording or its bytes are gone."""
        row = self.rows.get(recording_id)
        if row is None or row.status != Recording.Status.COMPLETE:
            return None
        try:
            with storage().open(row.key) as file:
                path = str(Path(file.name))
        except NotStored:
            return None
        self.shown[path] = f"recording {recording_id}"
        within = wanted or Sound(path=path)
        track = row.audio_track if within.track is None else within.track
        return msgspec.structs.replace(within, path=path, track=track)

    def awaited(self, recording_id: str) -> bool:
        """Whether it was told of, and is still on its way."""
        row = self.rows.get(recording_id)
        return bool(recording_id) and (row is None or row.status != Recording.Status.COMPLETE)

    def plain(self, text: str) -> str:
        """Who is told a reason need not know where we keep what."""
        for path, name in self.shown.items():
            text = text.replace(path, name)
        return text


def runs_of(experiment: Experiment, cells: Sequence[Cell]) -> tuple[dict[str, Run], Sounds]:
    """The runs of cells that have ended, by their ids. Cells come with `sample` and `pipeline`."""
    samples = {cell.sample_id: value_of(cell.sample) for cell in cells}
    turns: dict[str, list[Turn]] = defaultdict(list)
    rows = Turn.objects.filter(project_id=experiment.project_id, cell__in=[cell.pk for cell in cells])
    for turn in rows.exclude(status=Progress.SUPERSEDED).prefetch_related("tasks", "time_points").order_by("index"):
        turns[turn.cell].append(turn)
    wanted = {said.sound.path for sample in samples.values() for said in sample.utterances}
    played = choice_of(experiment) is not None
    if played:
        wanted |= {turn.recording for several in turns.values() for turn in several if turn.recording}
    wanted |= {turn.reply_audio for several in turns.values() for turn in several if turn.reply_audio}
    sounds = Sounds(_recordings(experiment.project_id, wanted))
    kinds = _kinds_of(experiment.project_id)
    said = {cell.pk: _said_in(cell, samples[cell.sample_id], turns[cell.pk]) if played else samples[cell.sample_id]
            for cell in cells}  # fmt: skip
    return {
        cell.pk: Run(
            sample=said[cell.pk], cell=cell.pk, pipeline=cell.pipeline.label,
            kinds=kinds(cell.pipeline.name, cell.pipeline.hash), repeat=cell.repeat,
            live=experiment.pace == Pace.REALTIME, turns=_turns(cell, said[cell.pk], turns[cell.pk], sounds),
            yields_s=tuple(each.yield_s for each in _called(cell) if each.yield_s is not None),
        )
        for cell in cells
    }, sounds  # fmt: skip


def _recordings(project_id: str, keys: Collection[str]) -> dict[str, Recording]:
    rows = Recording.objects.filter(project_id=project_id)
    listed = sorted(keys)
    found: dict[str, Recording] = {}
    for at in range(0, len(listed), 500):
        found |= rows.in_bulk(listed[at : at + 500])
    return found


def _called(cell: Cell) -> list[CalledRecord]:
    """What its caller measured, an entry for each utterance; none at fast pace."""
    return msgspec.convert(cell.played.get("turns", []), list[CalledRecord])


def _turns(cell: Cell, sample: Sample, turns: Sequence[Turn], sounds: Sounds) -> tuple[RunTurn, ...]:
    called = _called(cell)
    of_turn = {turn_id: each for each in called for turn_id in (*each.turn_ids, each.turn_id)}
    made = []
    for turn in turns:
        if cell.session and turn.session_id != cell.session:
            continue  # of a run that was given up
        heard = of_turn.get(turn.pk)
        # At fast pace an utterance is a turn. Where a caller said which are whose, what it did not say is nobody's.
        index = heard.index if heard is not None else -1 if called else min(turn.index, len(sample.utterances) - 1)
        made.append(_turn(turn, index, sample, heard, sounds))
    return tuple(made)


def _turn(turn: Turn, index: int, sample: Sample, heard: CalledRecord | None, sounds: Sounds) -> RunTurn:
    utterance = sample.utterances[index] if 0 <= index < len(sample.utterances) else None
    fields: dict[str, Any] = {name: getattr(turn, name) for name in _TURN}
    if heard is not None:
        # The caller knows beforehand where the person's last speech sample is; a detector guesses it.
        measured = heard.turn_id == turn.pk
        fields |= {name: getattr(heard, name) if measured else None for name in ("voice_to_voice_s", "overlap_s")}
        fields |= {name: getattr(heard, name) if measured else None for name in ("yield_s", "heard_s")}
        fields["cut"] = heard.cut
    stages = tuple(_stage(task) for task in turn.tasks.all())
    return RunTurn(
        index=index, utterance=utterance, turn_id=turn.pk,
        reply_sound=sounds.of(turn.reply_audio) if turn.reply_audio else None,
        reply_awaited=sounds.awaited(turn.reply_audio),
        spoken_sound=None if utterance is None else sounds.of(utterance.sound.path, utterance.sound),
        utterance_s=_lasts(turn, utterance.sound if utterance else None, sounds), stages=stages,
        turn_s=None if turn.live else _spoken(stages),
        time_points={each.name: each.at_s for each in turn.time_points.all()}, **fields,
    )  # fmt: skip


def _said_in(cell: Cell, sample: Sample, turns: Sequence[Turn]) -> Sample:
    """The sample as a player said it: with as many utterances as it said, and its words."""
    called = _called(cell)
    if not called:
        return sample
    recording = next((turn.recording for turn in turns if turn.recording), "")
    written = dict(enumerate(sample.utterances))
    said = [_said(each, written.get(each.index), recording) for each in called]
    return msgspec.structs.replace(sample, utterances=tuple(said))


def _said(heard: CalledRecord, written: Utterance | None, recording: str) -> Utterance:
    """What a player said in the place of an utterance: where these are other words, what the sample knows of an answer
    does not belong to it, and how the recording's speaker felt never does."""
    if heard.text is None and written is not None:
        return written
    sound = Sound(path=recording or "-", start=heard.start / AXIS_RATE, end=heard.end / AXIS_RATE)
    if written is None or written.text != heard.text:
        return Utterance(sound=sound, text=heard.text or None)
    return msgspec.structs.replace(written, sound=sound, emotion="", speaker="")


def _stage(task: Task) -> RunStage:
    usage = None if task.usage is None else msgspec.convert(task.usage, UsageRecord)
    return RunStage(usage=usage, **{name: getattr(task, name) for name in _STAGE})


def _spoken(stages: Sequence[RunStage]) -> float | None:
    """From the claim to the last sound that was made; of a pipeline without a voice, to its last word."""
    ended = [(stage.kind in _SPEAKS, stage.ended_s) for stage in stages
             if stage.status == "completed" and stage.ended_s is not None]  # fmt: skip
    spoke = [at for speaks, at in ended if speaks]
    return max(spoke or [at for _, at in ended], default=None)


def _lasts(turn: Turn, said: Sound | None, sounds: Sounds) -> float | None:
    if said is not None:
        row = sounds.rows.get(said.path)
        end = said.end if said.end is not None else row.seconds if row is not None else None
        if end is not None and end > said.start:
            return end - said.start
    given = turn.utterance or {}
    return (given["end"] - given["start"]) / AXIS_RATE if {"start", "end"} <= given.keys() else None


def _kinds_of(project_id: str) -> Any:
    """Of the stages of a pipeline, by its name and hash; nothing where it can't be read."""

    @cache
    def kinds(name: str, hash: str) -> tuple[str, ...]:
        builtin = catalogue.builtin().get(name)
        if builtin is not None and builtin.hash == hash:
            spec = builtin.spec
        else:
            row = PipelineVersion.objects.filter(project_id=project_id, hash=hash).first()
            spec = row.spec if row is not None else {}
        try:
            return tuple(stage.kind for stage in pipeline_spec.parse(spec, name).stages)
        except pipeline_spec.PipelineError:
            return ()

    return kinds
