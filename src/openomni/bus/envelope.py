"""Work as it lies in the queue: one envelope for every kind, and the bodies that go in it.

A message stays small however long a conversation is: a pipeline goes by its hash, and what was said before by the id of
the turn before. Fields are added with a default; what a reader does not know stays in the message.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

import msgspec

from ..bounds import MAX_LINE, Count, Position
from ..datasets import AfterReply, When
from ..records import PlayerChoice

Kind = Literal["turn", "call", "score", "judge", "embed", "derive"]
Lane = Literal["reprocess", "throughput", "latency"]
LANES: tuple[Lane, ...] = ("reprocess", "throughput", "latency")
REPROCESS: Lane = "reprocess"
LATENCY: Lane = "latency"
THROUGHPUT: Lane = "throughput"
NO_GROUP = "-"
"""The group of work that belongs to no experiment and no campaign."""


class Work(msgspec.Struct, kw_only=True):
    """Something to be done once. `subject_id` names what it is about: a turn, a cell, a score."""

    work_id: str
    kind: str
    """A `Kind`; of a newer version perhaps another one."""
    project: str
    """By the subject that it came on, whatever was written into it."""
    lane: str = REPROCESS
    group: str = NO_GROUP
    """What it is cancelled with: an experiment or a campaign."""
    subject_id: str = ""
    attempt: Count = 1
    """How often it was put into the queue; the bus drops an id and attempt that it had within the hour."""
    spec_hash: str = ""
    """Of the pipeline that it runs."""
    needs: list[str] = []
    """Components, `kind:name`, that must be offered somewhere."""
    ready_at: float = 0.0
    """Unix time at which it could have been claimed."""
    body: dict[str, Any] = {}

    @property
    def message_id(self) -> str:
        return f"{self.work_id}-{self.attempt}"

    def again(self, now: float) -> Work:
        """As it is put into the queue once more."""
        return msgspec.structs.replace(self, attempt=self.attempt + 1, ready_at=now)


class TurnWork(msgspec.Struct, kw_only=True):
    """The body of a `turn`: to run from a recording, from `start` to `end` seconds in it (`end` < 0: to its end).

    With `segment` the utterances are found first, and each becomes a turn of the session. `after` is the turn before
    it, whose history goes on with what was said in it; empty: nothing was said before.

    `rescued`: it was said live, to an agent or a gateway that was gone before it was answered. Up to `heard_to` seconds
    it was heard as one utterance; where that is not beyond `start`, there may be none.
    """

    turn_id: str
    session_id: str
    index: int = 0
    pipeline: str
    recording: str
    start: float = 0.0
    end: float = -1.0
    track: int | None = None
    """Which of the recording's audio tracks is heard, from 1; None: the one that is meant by whoever recorded it."""
    channel: int | None = None
    """Which channel of the track, from 1; None: the mix of all."""
    segment: bool = False
    after: str = ""
    options: dict[str, Any] = {}
    position: Position = 0
    """Where the recording's first sample lies on the session's axis (samples at 16 kHz)."""
    rescued: bool = False
    heard_to: float = 0.0
    reruns: str = ""
    """The turn that it runs again, with the very input that each stage had; without a recording it was typed."""
    begin: str = ""
    """The kind of the stage that it runs from: those before give what they gave then."""
    given: dict[str, str] = {}
    """By kind, what a stage is to have given instead: corrected by hand of a turn that is run again, else the
    reference of what is said."""

    def work(self, project: str, spec_hash: str, **fields: Any) -> Work:
        """The envelope with this in it. A turn's work is named after it."""
        return Work(
            work_id=self.turn_id, kind="turn", project=project, subject_id=self.turn_id, spec_hash=spec_hash,
            body=msgspec.to_builtins(self), **fields,
        )  # fmt: skip

    @classmethod
    def of(cls, work: Work) -> TurnWork:
        """Raises msgspec.ValidationError for work of another kind or version."""
        if work.kind != "turn":
            raise msgspec.ValidationError(f"Invalid value {work.kind[:MAX_LINE]!r} - at `$.kind`")
        return msgspec.convert(work.body, cls)


class CallUtterance(msgspec.Struct, kw_only=True):
    """What is said in a call: from `start` to `end` seconds of a recording (`end` < 0: to its end), by its rule."""

    recording: str
    start: float = 0.0
    end: float = -1.0
    track: int | None = None
    """Which audio track, from 1; None: the first that sounds."""
    channel: int | None = None
    """Which channel of it, from 1; None: the mix of all."""
    when: When = AfterReply()
    speech: tuple[float, float] | None = None
    """Where its speech begins and ends, in seconds of the recording, as a reference has it; None: the fixed offline VAD
    says so."""
    text: str | None = None
    answer: str | None = None
    """What a right reply says; None: nobody knows. Both, and `fields`, are for a player alone."""
    fields: dict[str, Any] = {}


class CallWork(msgspec.Struct, kw_only=True):
    """The body of a `call`: a cell of an experiment, played in real time by a caller. `settings`: `patience_s`, how
    long a reply may keep it waiting, and `seed`, by which its room is silent."""

    cell: str
    experiment: str
    pipeline: str
    session_id: str
    """Of its first try; a later one has another, which follows from it."""
    attempt: Count = 1
    utterances: list[CallUtterance]
    settings: dict[str, Any] = {}
    sample: str = ""
    player: PlayerChoice | None = None
    """Who says something else than these recordings."""

    def work(self, project: str, spec_hash: str, **fields: Any) -> Work:
        """The envelope with this in it. A call's work is named after its cell."""
        return Work(
            work_id=self.cell, kind="call", project=project, lane=LATENCY, subject_id=self.cell, spec_hash=spec_hash,
            attempt=self.attempt, body=msgspec.to_builtins(self), **fields,
        )  # fmt: skip

    @classmethod
    def of(cls, work: Work) -> CallWork:
        """Raises msgspec.ValidationError for work of another kind or version."""
        if work.kind != "call":
            raise msgspec.ValidationError(f"Invalid value {work.kind[:MAX_LINE]!r} - at `$.kind`")
        return msgspec.convert(work.body, cls)


def call_session(session_id: str, number: int) -> str:
    """The session of the `number`th try of a call, from 1: what another caller left of it is nobody's to go on with."""
    return session_id if number <= 1 else uuid.uuid5(uuid.NAMESPACE_OID, f"{session_id} {number}").hex


class Cancelled(msgspec.Struct, kw_only=True):
    """What agents are told of a group that was cancelled: its work that was ready by `at` (Unix time) is wanted no
    more."""

    group: str
    at: float


def found_turn(work_id: str, number: int) -> str:
    """The id of the `number`th utterance that was found for a turn: the first keeps its own, so that finding them
    again finds the same."""
    return work_id if number == 0 else uuid.uuid5(uuid.UUID(work_id), str(number)).hex


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Work)


def encode(work: Work) -> bytes:
    return _encoder.encode(work)


def decode(data: bytes, subject: str) -> Work:
    """Raises msgspec.MsgspecError. `subject`: where it lay, which says whose it is, and which lane's and group's."""
    work = _decoder.decode(data)
    parts = subject.split(".")
    if len(parts) == 6:  # oo.PROJECT.work.LANE.GROUP.KIND
        work.project, work.lane, work.group = parts[1], parts[3], parts[4]
    return work
