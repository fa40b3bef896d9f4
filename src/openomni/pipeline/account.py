"""The account of a turn: its record, with every instant between the person's last sound and the reply owned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from ..bounds import MAX_NAME
from ..records import (
    DismissedRecord,
    Origin,
    Outcome,
    PauseRecord,
    SegmentRecord,
    Status,
    TimePointRecord,
    TurnRecord,
    UtteranceRecord,
)
from ..trace import Part, Span, partition, residue
from .task import TaskTrace
from .turn import Turn


class ReplySink(Protocol):
    """Keeps the sound of one reply, off the hot path."""

    def begin(self, turn_id: str, recording_id: str, rate: int) -> None: ...
    def write(self, pcm: bytes) -> None: ...
    def end(self) -> None: ...


@dataclass(slots=True)
class HeardPlayback:
    """Stamps of a reply's sound where it was heard, on the host's clock, give or take `uncertainty` seconds."""

    started: float
    audible: float | None
    seconds: float
    ended: bool
    uncertainty: float


@dataclass(slots=True)
class Overlap:
    """The person spoke from `began` on while the reply was heard, and it fell silent at `silent`, as the host knows."""

    began: float
    silent: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a turn takes from its session, or from the work that asks for it."""

    origin: Origin = "person"
    participant: str = ""
    cell: str = ""
    reruns: str = ""


def typed(spoken: Provenance) -> Provenance:
    """Of what a person typed in a session in which they could have spoken."""
    return replace(spoken, origin="text") if spoken.origin == "person" else spoken


@dataclass(slots=True)
class Account:
    """What is known of a turn beside the run itself. Stamps are on the host's clock; positions are samples.

    `speech_end`: the last user speech sample was captured; `decided`: the end of the turn was.
    """

    project: str
    session_id: str
    index: int
    turn: Turn
    start: int
    end: int
    speech_end: float
    decided: float
    speech_start: float
    began_at: float
    """Unix time of the first speech sample."""
    recording: str = ""
    sound: tuple[int, int] | None = None
    """From which sample of it to which the recogniser got, on the axis of `start` and `end`."""
    track: int | None = None
    channel: int | None = None
    """Which of its tracks and channels, where one was chosen."""
    reply_recording: str = ""
    status: Status = "started"
    reason: str = ""
    interrupted: bool = False
    heard: HeardPlayback | None = None
    live: bool = True
    """Whether a person could hear the reply; a queued turn has no voice-to-voice."""
    version: int = 0
    """That of its newest record."""
    lost: bool = False
    """Whoever was to answer it was gone before anything of a reply was given."""
    interrupted_at: float | None = None
    ended: float | None = None
    close_sink: Callable[[], None] = lambda: None
    """Ends the keeping of the reply's sound."""
    superseded: list[TaskTrace] = field(default_factory=list)
    """What was begun at pauses after which the person spoke on."""
    pauses: list[PauseRecord] = field(default_factory=list)
    """Where the person paused, and what was thought of it."""
    dismissed: list[DismissedRecord] = field(default_factory=list)
    """What the person said during the reply without taking the word."""
    held_from: float | None = None
    """The reply's sound was there, and waited because the person spoke again."""
    provenance: Provenance = field(default_factory=Provenance)
    source: str = "vad"
    """Who says where the person's speech begins and ends."""
    overlaps: list[Overlap] = field(default_factory=list)
    """Where the person spoke into the reply."""
    stopped_by: Overlap | None = None
    """The one of them that stopped it."""
    paused_s: float = 0.0
    """How long the reply was silent meanwhile, and went on afterwards."""

    @property
    def audible(self) -> float | None:
        """When the first audible sample of the reply was heard, or could have been; None when there was none."""
        if self.heard is not None and self.heard.audible is not None:
            return self.heard.audible
        reply = self.turn.reply
        if reply.first_emitted is None or reply.audible_offset is None or self.interrupted_before_sound:
            return None
        return reply.first_emitted + reply.audible_offset

    @property
    def interrupted_before_sound(self) -> bool:
        return self.interrupted and self.turn.reply.first_emitted is None

    @property
    def spoken(self) -> bool:
        """Whether somebody spoke who could hear the reply; what was typed, or asked of the agent, has no last sound."""
        return self.live and self.end > self.start

    @property
    def heard_at(self) -> Literal["client", "host", ""]:
        if self.audible is None:
            return ""
        return "client" if self.heard is not None and self.heard.audible is not None else "host"

    @property
    def outcome(self) -> Outcome:
        """What became of it, as `records.Outcome` says."""
        reply = self.turn.reply
        if self.status in ("pending", "started"):
            return ""
        if self.status == "failed":
            return "lost" if self.lost else "failed"
        if self.interrupted:
            return "interrupted"
        if self.status != "completed":
            return "cancelled"
        return "answered" if reply.samples or reply.text.strip() or reply.tool_calls else "unanswered"

    @property
    def overlap_s(self) -> float | None:
        audible = self.audible
        if not self.overlaps or audible is None:
            return None
        both = [self._silent(each) - max(each.began, audible) for each in self.overlaps]
        return round(sum(max(seconds, 0.0) for seconds in both), 6)

    @property
    def yield_s(self) -> float | None:
        stopped = self.stopped_by
        return None if stopped is None else round(self._silent(stopped) - stopped.began, 6)

    def _silent(self, overlap: Overlap) -> float:
        """Where the reply was heard, it is known there until when."""
        heard = self.heard
        if overlap is self.stopped_by and heard is not None and heard.ended:
            return max(heard.started + heard.seconds + self.paused_s, overlap.began)
        return overlap.silent

    @property
    def _warm(self) -> bool | None:
        loads = [each.load_s for task in self.turn.tasks for each in task.attempts]
        return not any(loads) if loads else None

    @property
    def _language(self) -> str:
        found = [task.output.get("language") for task in self.turn.tasks if task.stage.kind == "stt"]
        return str(next((each for each in found if each), ""))[:MAX_NAME]

    def record(self) -> TurnRecord:
        """The newest snapshot; each one has a higher version than the last."""
        self.version += 1
        parts = self._parts()
        audible = self.audible
        turn = self.turn
        return TurnRecord(
            project=self.project,
            version=self.version,
            turn_id=turn.turn_id,
            session_id=self.session_id,
            index=self.index,
            pipeline=turn.pipeline.name,
            pipeline_hash=turn.pipeline.hash,
            status=self.status,
            reason=self.reason,
            transcript=turn.reply.transcript,
            reply_text=turn.reply.text,
            reply_audio=self.reply_recording,
            recording=self.recording,
            voice_to_voice_s=round(audible - self.speech_end, 6) if audible is not None and self.spoken else None,
            heard_at=self.heard_at if self.live else "",
            residue_s=round(residue(parts), 6) if parts else None,
            interrupted=self.interrupted,
            segments=self._segments(),
            pauses=self.pauses,
            dismissed=list(self.dismissed),
            stages=[task.record(self.speech_end) for task in (*self.superseded, *turn.tasks)],
            time_points=self._time_points(),
            parts=parts,
            started_at=self.began_at,
            utterance_hash=turn.utterance_hash,
            reruns=self.provenance.reruns,
            origin=self.provenance.origin,
            live=self.live,
            warm=self._warm,
            cell=self.provenance.cell,
            participant=self.provenance.participant,
            language=self._language,
            outcome=self.outcome,
            overlap_s=self.overlap_s,
            yield_s=self.yield_s,
            frames=[each.record(self.recording if seen else "") for each, seen in turn.shown.values()],
            items=turn.told,
            utterance=self._utterance(),
            asked=turn.utterance.asked,
            given=dict(turn.utterance.given_as),
        )

    def _utterance(self) -> UtteranceRecord | None:
        if not self.recording or not self.sound:
            return None
        return UtteranceRecord(self.recording, *self.sound, track=self.track, channel=self.channel)

    def _segments(self) -> list[SegmentRecord]:
        participant = self.provenance.participant
        whose: dict[str, Any] = {"track": self.recording, "participant": participant, "source": self.source}
        spoken = [(self.start, self.end), *((said.start, said.end) for said in self.dismissed)]
        return [SegmentRecord("user", start, end, **whose) for start, end in spoken if end > start]

    def _parts(self) -> list[Part]:
        audible, first = self.audible, self.turn.reply.first_sound
        emitted = self.turn.reply.first_emitted
        if audible is None or first is None or emitted is None:
            return []
        spans = [Span("end_of_turn", "end_of_turn", self.speech_end, self.decided)]
        started = self.turn.started
        if started is not None and started > self.decided:
            # The host was still busy with the turn before.
            spans.append(Span("host.queue", "queue", self.decided, started, "host", "end_of_turn"))
        spans += [span for task in self.turn.tasks for span in task.spans()]
        maker = self.turn.reply.voice
        spoke = maker.first_used if maker is not None else None
        way = spoke.transfer_out_s if spoke is not None else 0.0
        voice = maker.stage.name if maker else ""
        spans.append(
            Span("voice.arrival", "transfer", first - way, first, voice, f"{maker.task_id}.model" if maker else "")
        )
        released_by = "voice.arrival"
        if self.decided > first:
            # The reply was ready and held back: what the person waited for is the decision that they had finished.
            released_by = "end_of_turn"
        if self.held_from is not None and emitted > self.held_from:
            spans.append(Span("held", "queue", max(first, self.held_from), emitted, "host", released_by))
            released_by = "held"
        begins = self.heard.started if self.heard is not None and self.heard.audible is not None else emitted
        spans.append(Span("reply.transfer", "transfer", emitted, begins, "client", released_by))
        spans.append(Span("playback", "playback", begins, audible, "client", "reply.transfer"))
        if started is not None and started > self.decided:
            spans = [_released_by_host(span) for span in spans]
        return partition(spans, "playback", self.speech_end, audible)

    def _time_points(self) -> list[TimePointRecord]:
        reply, heard = self.turn.reply, self.heard
        first_by_kind = {task.stage.kind: task.first_arrival for task in self.turn.tasks}
        points: list[tuple[str, float | None, str]] = [
            ("speech_started", self.speech_start, "client"),
            ("speech_ended", self.speech_end, "client"),
            ("end_of_turn", self.decided, "host"),
            ("transcript", first_by_kind.get("stt"), "host"),
            ("first_token", first_by_kind.get("llm"), "host"),
            ("first_sound", reply.first_sound, "host"),
            ("reply_sent", reply.first_emitted, "host"),
            ("interrupted", self.interrupted_at, "host"),
            ("turn_ended", self.ended, "host"),
        ]
        if heard is not None:
            played = heard.started + heard.seconds if heard.ended else None
            points += [
                ("playback_started", heard.started, "client"),
                ("audible", heard.audible, "client"),
                # As much later as sound was heard; pauses in between are not counted.
                ("playback_ended", played, "client"),
            ]
        uncertainty = {"client": round(heard.uncertainty, 6) if heard is not None else 0.0}
        known = sorted((at, name, where) for name, at, where in points if at is not None)
        return [
            TimePointRecord(name, round(at - self.speech_end, 6), where, uncertainty.get(where, 0.0))
            for at, name, where in known
        ]


def _released_by_host(span: Span) -> Span:
    """A turn that had to wait for the one before it begins with that wait."""
    if span.after != "end_of_turn" or span.name == "host.queue":
        return span
    return Span(span.name, span.what, span.start, span.end, span.stage, "host.queue")
