"""A live session, from the host to the gateway: what was heard, and the reply."""

from __future__ import annotations

from typing import Literal

from ..bounds import Position, Rate, Uuid
from .event import Event
from .values import ToolCall


class SpeechStarted(Event, frozen=True, tag="speech.started"):
    turn_id: str
    position: int


class SpeechStopped(Event, frozen=True, tag="speech.stopped"):
    """The end of the utterance was decided; `position` is just past the last speech sample, `start` is where it began
    (of a host of an earlier version: None)."""

    turn_id: str
    position: int
    start: int | None = None


class Heard(Event, frozen=True, tag="heard"):
    """The transcript of a turn, partial or final."""

    turn_id: str
    text: str
    final: bool


class NothingCommitted(Event, frozen=True, tag="nothing.committed"):
    """A `Commit` found nothing that was said since the last utterance."""


class ReplyText(Event, frozen=True, tag="reply.text"):
    turn_id: str
    text: str


class ReplySound(Event, frozen=True, tag="reply.sound"):
    """Reply audio: PCM16 at `rate`, from `offset` samples of this reply on; `sent` on the gateway's clock."""

    turn_id: Uuid
    rate: Rate
    offset: Position
    sent: float
    pcm: bytes


class ToolCalled(Event, frozen=True, tag="tool.called"):
    """The reply asks the client to run a tool; its result comes back as an item."""

    turn_id: str
    call: ToolCall


class ReplyPaused(Event, frozen=True, tag="reply.paused"):
    """The person may be interrupting: fall silent at once, and keep what was not played yet."""

    turn_id: str


class ReplyResumed(Event, frozen=True, tag="reply.resumed"):
    """They were not: go on where the reply fell silent."""

    turn_id: str


class Dismissed(Event, frozen=True, tag="dismissed"):
    """What the person said, or what sounded like it, while a reply was made or heard, and what took nobody's turn: the
    reply of that turn goes on. `start` and `end` are samples; `text` is as far as it was understood, `log_probability`
    how sure the recogniser was of it, where it says so. The turn's record holds the same."""

    turn_id: str
    start: int
    end: int
    text: str = ""
    log_probability: float | None = None
    why: str = ""
    """As in `records.DismissedRecord`."""


class ReplyEnd(Event, frozen=True, tag="reply.end"):
    """No more of this reply. A cancelled one (`interrupted`) must fall silent at once."""

    turn_id: str
    status: Literal["completed", "cancelled", "failed"]
    reason: str = ""


class TurnDone(Event, frozen=True, tag="turn.done"):
    """The turn as recorded: the JSON of a `records.TurnRecord`."""

    turn_id: str
    record: bytes


class Answering(Event, frozen=True, tag="answering"):
    """That turn answers the `Respond` of that id. It comes before all else of the turn, and again when the request
    does; the turn's record follows then where it is over."""

    request_id: str
    turn_id: str


class SessionEnded(Event, frozen=True, tag="session.ended"):
    """The host closed the session; `reason` is empty when it ended as asked."""

    reason: str = ""


SessionOutput = (
    SpeechStarted
    | SpeechStopped
    | Heard
    | NothingCommitted
    | ReplyText
    | ReplySound
    | ToolCalled
    | ReplyPaused
    | ReplyResumed
    | Dismissed
    | ReplyEnd
    | TurnDone
    | SessionEnded
    | Answering
)
