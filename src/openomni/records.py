"""What is kept of a conversation: the messages of the record plane, and the JSON of a turn.

A record is a whole snapshot with a `version` that grows. The consumer upserts by id and ignores a version that is not
newer, so a message that comes twice, or late, changes nothing. `_s` fields are seconds; those of a stage count from
the turn's last user speech sample.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import Any, Literal

import msgspec

from .bounds import Count, Id, Line, Moment, Name, Position, Rate, Seconds, Share, Text, stored
from .trace import Part

Origin = Literal["person", "text", "replay", "reprocess", "experiment", "bench"]
"""What made a turn or a session: somebody spoke or typed, a recording was played to it as if live, a recorded utterance
was run again, a cell of an experiment, or one of this project's own benchmarks."""
Outcome = Literal["", "answered", "unanswered", "interrupted", "failed", "cancelled", "dismissed", "lost"]
"""What became of a turn. Empty: it is not over. `answered`: there was a reply, whole. `unanswered`: it went well, and
there was none, for nothing was understood or nobody asked for one. `interrupted`: the reply was stopped, by the person
or their client, or by the death of who spoke or carried it. `failed`: a stage did. `cancelled`: the session ended
before. `dismissed`: what was said took nobody's word, and was not answered for that. `lost`: its agent or its gateway
was gone before anything of a reply was given; the turn is run from the recording, and is something else then."""
Status = Literal["pending", "started", "completed", "failed", "cancelled", "superseded"]


class Record(msgspec.Struct, kw_only=True, tag_field="type"):
    """What all records share."""

    project: str
    version: Count = 1


class PlacedRecording(msgspec.Struct):
    """Where a recording lies on the session's axis: its first sample, at 16 kHz."""

    recording: Id
    position: Position = 0


class SessionRecord(Record, tag="session", kw_only=True):
    """A conversation of a device through a pipeline. `recordings` are ids of the captured media."""

    session_id: str
    pipeline: str
    pipeline_hash: str
    spec: dict[str, Any]
    device: str = ""
    site: str = ""
    source: str = ""
    status: Literal["open", "closed", "lost"] = "open"
    started_at: Moment = 0.0
    """Unix time, for people; durations never come from it."""
    ended_at: Moment | None = None
    recordings: list[str] = []
    made_by: Name = ""
    """The id of the token that it was opened with."""
    reason: str = ""
    tracks: list[PlacedRecording] = []
    """Its recordings, each with its place."""
    origin: Origin = "person"
    participant: Name = ""
    consent: Name = ""
    """What the participant agreed to, as their record has it."""
    context: Line = ""
    """A note: the place, the task, who is there."""
    turn_taking: dict[str, Any] = {}
    """What its client set otherwise than the pipeline has it, at its opening."""


class SegmentRecord(msgspec.Struct):
    """Who speaks from when to when: samples on the session's axis (16 kHz)."""

    speaker: str
    start: Position
    end: Position
    track: str = ""
    """The recording that it was heard in."""
    participant: str = ""
    confidence: Share | None = None
    """How sure it is who speaks."""
    source: Name = ""
    """Who says where it begins and ends: `vad`, `client`, or a component."""
    consent: Name = ""
    """What the participant had agreed to."""


class FrameRecord(msgspec.Struct):
    """A picture that a model got. `at`: samples on the session's axis; `sha256` of its JPEG; `recording` is the video
    that has it, empty for one that the client put into the conversation."""

    sha256: Id
    at: Position = 0
    recording: str = ""


class UsageRecord(msgspec.Struct, kw_only=True):
    """What a task, or one attempt at it, consumed: as its component says, else as the framework counted it; None where
    nobody knows."""

    requests: Count = 0
    """Calls of the model: a voice is called once a clause."""
    input_tokens: Count | None = None
    cached_tokens: Count | None = None
    """Those of the input that the model had read before."""
    output_tokens: Count | None = None
    characters: Count | None = None
    """Of text: what a voice was given, what others wrote."""
    seconds_in: float | None = None
    """Of sound that it was given."""
    seconds_out: float | None = None
    """Of sound that it made."""
    images: Count | None = None
    cost: float | None = None
    currency: Name = ""


class PauseRecord(msgspec.Struct, kw_only=True):
    """A pause in what a person said, and what was thought of it: how the end of a turn was found."""

    at: Position
    """Just past the last sample of speech before it (16 kHz, on the session's axis)."""
    revision: Count
    """Which revision of the turn answers what was said up to there."""
    finished: float | None = None
    """How likely the person had finished, 0…1, as the pipeline's `end_of_turn` component says; None where there is
    none, or it had not answered before the pause was over."""
    recogniser: float | None = None
    """The same as far as the recogniser says, one of the signals behind `finished`."""
    language_model: float | None = None
    """The same as far as the language model says, which reads what was said."""
    silence_s: float
    """How long a silence was to end the turn here."""
    lasted_s: float | None = None
    """How long it was silent, until the person spoke on or the end was decided; longer than `silence_s` where what it
    is judged by took longer. None: something else ended it, the client or the end of the capture."""
    ended: bool = False
    """The silence ended the turn; else the person spoke on, or something else ended it."""

    @property
    def words(self) -> str:
        """Why it ended the turn, for people."""
        waited = f"{self.silence_s:.2f} s of silence ended it"
        if self.lasted_s is not None:
            waited += f" ({self.lasted_s:.2f} s passed)"
        if self.finished is None:
            return waited
        only = "only " if self.finished < 0.5 else ""
        signals = (("recogniser", self.recogniser), ("language model", self.language_model))
        behind = ", ".join(f"{name} {sure:.0%}" for name, sure in signals if sure is not None)
        sure = f"{only}{self.finished:.0%} sure that the person had finished{behind and f' ({behind})'}"
        return f"{sure}, so {waited}, while the models ran ahead"


class DismissedRecord(msgspec.Struct, kw_only=True):
    """What the person said, or what sounded like it, while a reply was made or heard, and what took nobody's turn."""

    start: Position
    end: Position
    """Samples on the session's axis (16 kHz); `end` is just past the last."""
    why: Name
    """`attention`: words that only show that somebody listens. `nothing`: no word was understood, as of a cough.
    `guess`: the recogniser's words are no more than a guess at a noise."""
    text: Text = ""
    """As far as it was understood."""
    log_probability: float | None = None
    """The average of what the recogniser wrote, where it says so."""


class AttemptRecord(msgspec.Struct, kw_only=True):
    """One try of a task on one agent; a later attempt follows one that failed or was lost."""

    number: Count
    agent: str
    status: Status
    reason: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    build: str = ""
    """The `BuildRecord` that it ran on; empty where it never began, or its agent was lost before it said so."""
    seed: int | None = None
    """What the component was given to draw by, where it takes one."""
    usage: UsageRecord | None = None


class StageRecord(msgspec.Struct, kw_only=True):
    """A task: one stage of the turn in one revision. Times are those of the attempt that counted; what agents took
    that were lost before that is `lost_s`, and part of no other figure."""

    task_id: str
    kind: str
    component: str
    revision: Count = 0
    agent: str = ""
    status: Status = "pending"
    reason: str = ""
    queue_s: float | None = None
    lost_s: float | None = None
    transfer_s: float | None = None
    load_s: float | None = None
    model_s: float | None = None
    ttfb_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    output: dict[str, Any] = {}
    """What it gave, small and readable: text, language, values, diagnostics, usage; sound goes by reference."""
    attempts: list[AttemptRecord] = []
    build: str = ""
    """That of the attempt that counted, as are `agent` and `seed`."""
    seed: int | None = None
    usage: UsageRecord | None = None
    """Of all attempts together: what was lost was paid for, too."""


class TimePointRecord(msgspec.Struct):
    """An instant on the turn's timeline."""

    name: str
    at_s: float
    where: str = ""
    uncertainty_s: float = 0.0


class UtteranceRecord(msgspec.Struct):
    """The very sound that was recognised last: samples `start` to `end` of what `recording` holds, on the axis of its
    session (16 kHz); of a queued turn on that of the recording itself."""

    recording: Id
    start: Position
    end: Position
    track: Position | None = None
    """Which of the recording's audio tracks, from 1; None: the one that is meant by whoever recorded it."""
    channel: Position | None = None
    """Which channel of the track, from 1; None: the mix of all."""


class AskedRecord(msgspec.Struct, kw_only=True):
    """What the session, or the request for this response, asked for otherwise than the pipeline has it."""

    instructions: str | None = None
    """In place of the pipeline's."""
    tools: list[dict[str, Any]] = []
    """Those that the client runs: name, description, parameters."""
    tool_choice: Name = "auto"
    text_only: bool = False
    voice: Name = ""
    language: Name = ""
    speaks_first: bool = False
    """Nobody said anything: the agent began, or went on."""


Given = Literal["recorded", "corrected", "reference"]
"""Of a stage that did not run: its output was what it had given before, what somebody says that it should be, or what
its dataset has as right."""


class TurnRecord(Record, tag="turn", kw_only=True):
    """One user utterance and the response to it: the JSON that the command line prints and the API stores."""

    turn_id: str
    session_id: str
    index: int
    pipeline: str
    pipeline_hash: str
    status: Status = "started"
    reason: str = ""
    transcript: str = ""
    reply_text: str = ""
    reply_audio: str = ""
    """Id of the reply's recording; the command line puts a path here."""
    recording: str = ""
    voice_to_voice_s: float | None = None
    heard_at: Literal["client", "host", ""] = ""
    """Where the reply's first audible sample was measured: `client` when a responder reported it, else `host`."""
    residue_s: float | None = None
    interrupted: bool = False
    segments: list[SegmentRecord] = []
    pauses: list[PauseRecord] = []
    """Where the person paused, oldest first; empty where the client said itself when they had finished."""
    dismissed: list[DismissedRecord] = []
    """What was said during the reply without taking the word, oldest first."""
    stages: list[StageRecord] = []
    time_points: list[TimePointRecord] = []
    parts: list[Part] = []
    """The partition: who owned each instant from the last user speech sample to the reply's first audible one."""
    started_at: Moment = 0.0
    """Unix time of the first user speech sample, for people."""
    utterance_hash: str = ""
    """SHA-256 of what was said, the same wherever it is said again: of the sound as the recogniser got it (PCM16 at
    16 kHz), of typed words as UTF-8. Empty where nobody said anything."""
    reruns: str = ""
    """The turn whose utterance it runs again."""
    origin: Origin = "person"
    live: bool = True
    """Somebody could hear the reply while it was made."""
    warm: bool | None = None
    """No stage had to load; None where none ran."""
    cell: str = ""
    """That of an experiment."""
    participant: Name = ""
    language: Name = ""
    """As it was recognised."""
    outcome: Outcome = ""
    overlap_s: Seconds | None = None
    """How long both spoke: None where nobody spoke into the reply."""
    yield_s: Seconds | None = None
    """From the first sample of the speech that stopped the reply until the reply was silent."""
    frames: list[FrameRecord] = []
    """The pictures that its models got, each once."""
    items: list[Name] = []
    """The items of the conversation that its language model got, oldest first, its own utterance the last."""
    utterance: UtteranceRecord | None = None
    """Where its sound is; None where nobody spoke, and where nothing recorded it."""
    asked: AskedRecord | None = None
    """None: all as the pipeline has it."""
    given: dict[str, Given] = {}
    """By kind, the stages whose output was given rather than made."""


class ItemRecord(Record, tag="item", kw_only=True):
    """An item of a conversation, as it was heard. What a model was told stays as it was told: where it turns out that
    less was heard, the item is gone, and another one, with a number behind its id, has its place."""

    session_id: Id
    item_id: Name
    position: Count
    """Its place among the session's items; numbers may be missing."""
    role: Literal["system", "user", "assistant", "tool"]
    content: Text = ""
    turn_id: str = ""
    """The turn that it was said in; empty for what the client put there."""
    recording: str = ""
    """The sound of it; `start` and `end` are samples on the session's axis, both 0 for the whole recording."""
    start: Position = 0
    end: Position = 0
    pictures: list[FrameRecord] = []
    tool_calls: list[dict[str, Any]] = []
    call_id: str = ""
    gone: bool = False
    """It left the conversation: later turns were not told of it."""


class FileRecord(msgspec.Struct):
    """A file that a component loaded. `size` in bytes."""

    name: Line
    sha256: Id
    size: Count


class MachineRecord(msgspec.Struct, kw_only=True, frozen=True):
    """What a model ran on; `memory` in bytes, `cores` those that the process may use."""

    cpu: Name = ""
    cores: Count = 0
    memory: Count = 0
    accelerators: tuple[Name, ...] = ()
    os: Name = ""
    python: Name = ""
    architecture: Name = ""


class BuildRecord(Record, tag="build", kw_only=True):
    """What tasks ran on: all that has to be the same for them to be run again. Its id is made of its content, so that
    whoever tells it again changes nothing."""

    build: Id
    kind: Name
    component: Name
    package: Name = ""
    package_version: Name = ""
    path: Line = ""
    """`module:Class`."""
    parameters: dict[str, Any] = {}
    """All of them, those that nobody gave as the component has them."""
    files: list[FileRecord] = []
    libraries: dict[str, str] = {}
    """The versions of what the component runs on, by the name of the distribution."""
    machine: MachineRecord = MachineRecord()
    openomni: Name = ""

    @classmethod
    def of(cls, project: str, **content: Any) -> BuildRecord:
        """With the id that its content has."""
        bare = cls(project="", build="", **content)
        told = msgspec.json.encode(bare, order="deterministic")
        return cls(project=project, build=hashlib.sha256(told).hexdigest(), **content)


class RecordingRecord(Record, tag="recording", kw_only=True):
    """A media file as captured, or a reply as spoken; its bytes go through storage, not through here."""

    recording_id: str
    kind: Literal["audio", "video", "reply", "picture"]
    session_id: str = ""
    turn_id: str = ""
    device: str = ""
    rate: Rate | None = None
    samples: Count | None = None
    position: Position = 0
    """Where its first sample lies on the session's axis (samples at 16 kHz)."""
    started_at: Moment | None = None


class BrokenOffRecord(Record, tag="broken_off", kw_only=True):
    """What was being said or answered in a session when its host or its gateway was gone, as the gateway knows it.

    A turn of which some reply was `given` is over: it was interrupted. Any other is run from the recording, once it is
    sure that nobody else answers it. Positions are samples on the session's axis.
    """

    session_id: Id
    turn_id: Id
    """The turn's own, where it had begun; else one that follows from the place, of what may hold no speech at all."""
    recording: str = ""
    start: Position
    heard_to: Position = 0
    """Up to there it was heard as one utterance."""
    end: Position | None = None
    """Where somebody hears again. None: nobody is known to."""
    given: bool = False
    transcript: Text = ""
    reply_text: Text = ""
    """As far as it was passed on."""
    reason: str = ""


class PlayerChoice(msgspec.Struct, kw_only=True):
    """Who plays the user of a sample, where that are not its recordings: a component of the kind `player`, and the
    voice, a component of the kind `tts`, in which it is heard where it gives text."""

    name: Name
    parameters: dict[str, Any] = {}
    voice: Name = "piper"
    voice_parameters: dict[str, Any] = {}


class CalledRecord(msgspec.Struct, kw_only=True):
    """An utterance of a real-time cell, as it was measured where its reply was heard."""

    index: Count
    """Its place in the sample."""
    turn_id: str = ""
    """The turn whose reply was measured; without a reply the last that was made of it."""
    turn_ids: list[str] = []
    """All that were made of it: one, where nothing cut it in two."""
    voice_to_voice_s: Seconds | None = None
    """From its last speech sample, which is known beforehand, to the first sample of the reply above −40 dBFS, at the
    client; negative where the reply began before. None: nothing was heard."""
    answered: bool = False
    early: bool = False
    """The reply began before the last speech sample."""
    cut: bool = False
    """A turn was decided before the last speech sample."""
    overlap_s: Seconds | None = None
    """How long both spoke; None where nobody spoke into the other."""
    yield_s: Seconds | None = None
    """From its first speech sample, said into a reply, until that was silent, stopped or not; None where it was said
    into none."""
    heard_s: Seconds | None = None
    """How much of its reply was played before that was stopped; None where it was played to its end."""
    on_rule: bool = True
    """It was said when its rule has it."""
    start: Position = 0
    end: Position = 0
    """Its speech on the session's axis, in samples at 16 kHz; `end` is just past the last."""
    text: Text | None = None
    """What it says, where that was not the sample's own recording; empty: nobody wrote it."""


class CellRecord(Record, tag="cell", kw_only=True):
    """What became of a real-time cell of an experiment, once it was played. `disturbed`: somebody's conversation took a
    machine that it was measured on, and it is to be run again; `reason` says whose doing it was."""

    cell: Id
    experiment: Name = ""
    attempt: Count = 1
    """That of the work: how often it was put into the queue."""
    status: Literal["done", "failed", "disturbed"] = "done"
    reason: Line = ""
    unserved: bool = False
    """Of a failed one: no agent was there that its pipeline needs, so nothing of it was run, and it may be later."""
    session_id: str = ""
    """The session of the run that counts."""
    caller: str = ""
    """The name of the agent that played the person."""
    started_at: Moment = 0.0
    ended_at: Moment = 0.0
    turns: list[CalledRecord] = []
    frames_lost: Count | None = None
    """Blocks of 20 ms that the microphone gave and the recording does not hold; None where that can't be said."""
    microphone_late_s: Seconds | None = None
    """How late the microphone's blocks went out, 99 of 100 at most: a machine that can't keep pace measures itself."""
    player: list[Id] = []
    """Who played the user, and in which voice, by the ids of their builds; none where its recordings were played."""


AnyRecord = SessionRecord | TurnRecord | RecordingRecord | ItemRecord | BuildRecord | BrokenOffRecord | CellRecord


def later_version() -> int:
    """For who goes on with what another writer began, and may still write: greater than all that it counts up to."""
    return int(time.time() * 1000)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyRecord)
_UNSTORABLE = re.compile(rb"\\u(0000|d[89a-f])", re.IGNORECASE)
"""How JSON writes what no text of both databases holds; where it stands for itself, after a backslash, too."""


def encode(record: AnyRecord) -> bytes:
    """Text that UTF-8 can't carry (half a surrogate) goes with U+FFFD in its place."""
    try:
        return _encoder.encode(record)
    except UnicodeEncodeError:
        return _encoder.encode(_storable(msgspec.to_builtins(record)))


def decode(data: bytes) -> AnyRecord:
    """Raises msgspec.MsgspecError for anything else, and for numbers out of bounds.

    Fields that it does not know are left out. Text that a database can't store has U+FFFD in place of what it can't.
    """
    try:
        record: AnyRecord = _cleaned(data) if _UNSTORABLE.search(data) else _decoder.decode(data)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deep") from None
    return record


def bounded(record: AnyRecord) -> AnyRecord:
    """As it would be read: for who got it otherwise than by `decode`. Raises as that does."""
    return decode(encode(record))


def _cleaned(data: bytes) -> AnyRecord:
    try:
        plain = json.loads(data)
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None
    record: AnyRecord = msgspec.convert(_storable(plain), AnyRecord)
    return record


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return stored(value)
    if isinstance(value, dict):
        return {_storable(name): _storable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return value
