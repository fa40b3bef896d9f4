"""What a gateway knows of a session that may outlive its host and the gateway: what it is, and what is unanswered."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from ..bounds import MAX_LINE
from ..bus import subjects
from ..bus.sessions import OpenSession, UnfinishedUtterance
from ..events import (
    AXIS_RATE,
    Dismissed,
    Heard,
    ReplyEnd,
    ReplySound,
    ReplyText,
    SessionOutput,
    SpeechStarted,
    SpeechStopped,
    TurnDone,
)
from ..records import BrokenOffRecord, SessionRecord, later_version
from .access import ResolvedPipeline
from .placing import Needs

UNTOLD_SECONDS = 10.0
"""What was said as long before a host was gone, and told by nobody, may have been the beginning of an utterance."""
MAX_TEXT = 64 << 10
"""Characters of a reply that are remembered."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a session is, whoever hosts it."""

    session_id: str
    project: str
    site: str
    room: str
    """What stands for the site in its subjects: whoever plays there hears it."""
    device: str
    made_by: str
    pipeline: ResolvedPipeline
    needs: Needs
    source: str
    recording: str
    participant: str = ""
    consent: str = ""
    context: str = ""
    origin: str = ""
    cell: str = ""

    def opening(self, settings: dict[str, Any], again: bool, unfinished: list[UnfinishedUtterance]) -> OpenSession:
        """What a host is asked. `again`: the session was hosted before, by an agent that may only have been cut off;
        on subjects of their own nobody hears the old one when it comes back."""
        token = f"{self.session_id}-r{secrets.token_hex(3)}" if again else self.session_id
        return OpenSession(
            session_id=self.session_id, project=self.project, site=self.site, device=self.device,
            made_by=self.made_by, pipeline=self.pipeline.name, pipeline_hash=self.pipeline.hash,
            spec=self.pipeline.spec, source=self.source, recording=self.recording,
            settings={**settings, "resumed": again}, origin=self.origin, cell=self.cell,
            unfinished=unfinished,
            participant=self.participant, consent=self.consent, context=self.context,
            input=subjects.live(self.project, self.room, token, "in"),
            output=subjects.live(self.project, self.room, token, "out"),
        )  # fmt: skip

    def lost(self, reason: str) -> SessionRecord:
        """The end of a session that no host lives to record."""
        return SessionRecord(
            project=self.project, version=later_version(), session_id=self.session_id, pipeline=self.pipeline.name,
            pipeline_hash=self.pipeline.hash, spec=self.pipeline.spec, device=self.device, site=self.site,
            made_by=self.made_by, source=self.source, status="lost", ended_at=time.time(), reason=reason,
            recordings=[self.recording] if self.recording else [],
            participant=self.participant, consent=self.consent, context=self.context,
        )  # fmt: skip

    @property
    def speaks(self) -> bool:
        """Whether its replies are heard, rather than read."""
        return any(kind in ("tts", "end_to_end") for kind, _ in self.needs)


class Begun(msgspec.Struct):
    """An utterance of which its host told, from sample `start` on; `end`: just past its last sample of speech, once
    that was decided."""

    turn_id: str
    start: int
    end: int | None = None
    transcript: str = ""
    reply: str = ""
    given: bool = False
    """Some of its reply was passed on."""
    whole: bool = False
    """No more of the reply comes."""
    left: bool = False
    """Who told of it is gone, and nobody else has told of it since."""

    @property
    def known_to(self) -> int:
        return self.start if self.end is None else self.end


class HeldSession(msgspec.Struct):
    """One session. Positions are samples on its axis."""

    plan: SessionPlan
    position: int | None = None
    """Where the recording lies that this gateway makes of it; None: its client records."""
    heard_to: int = 0
    """Up to there its sound was passed on to a host."""
    settled: int = 0
    """Up to there all was answered."""
    begun: dict[str, Begun] = {}
    """By turn, oldest first: those that are not over."""
    closed: bool = False
    """Its host was told to end it, for the gateway stops, and records that: only what it left unanswered is open."""

    def note(self, output: SessionOutput, written: bool) -> bool:
        """What the host says; gives whether it changes what has to be known. `written`: replies are read."""
        match output:
            case SpeechStarted():
                self._utterance(output.turn_id, output.position)
            case SpeechStopped() if output.start is None or output.start < output.position:
                here = output.position if output.start is None else output.start
                utterance = self._utterance(output.turn_id, here)
                utterance.start, utterance.end = min(utterance.start, here), output.position
            case Heard() if output.final and (heard := self.begun.get(output.turn_id)):
                heard.transcript = output.text[:MAX_TEXT]
            case ReplyText() if told := self.begun.get(output.turn_id):
                told.reply = (told.reply + output.text)[:MAX_TEXT]
                if not written or told.given:
                    return False
                told.given = True
            case ReplySound() if (told := self.begun.get(output.turn_id)) and not told.given:
                told.given = True
            case ReplyEnd() if over := self.begun.get(output.turn_id):
                over.given = over.whole = True
                self.settled = max(self.settled, over.known_to)
            case TurnDone() if output.turn_id in self.begun:
                self.settled = max(self.settled, self.begun.pop(output.turn_id).known_to)
            case Dismissed() if not self.begun:
                self.settled = max(self.settled, output.end)
            case _:
                return False
        return True

    def _utterance(self, turn_id: str, start: int) -> Begun:
        utterance = self.begun.setdefault(turn_id, Begun(turn_id, start))
        utterance.left = False
        return utterance

    @property
    def answered(self) -> int:
        """Up to there nothing has to be heard again."""
        return min([self.settled, *(each.start for each in self.begun.values())])

    @property
    def unfinished(self) -> list[UnfinishedUtterance]:
        return [UnfinishedUtterance(each.turn_id, each.start, each.end) for each in self.begun.values()]

    def host_gone(self, reason: str) -> Iterator[BrokenOffRecord]:
        """Its host, or the gateway before this one, is gone: what had its reply in part is over, and told as such."""
        for each in list(self.begun.values()):
            if each.given:
                del self.begun[each.turn_id]
                self.settled = max(self.settled, each.known_to)
                yield self._broken_off(each, reason, given=True)
            each.left = True

    def heard_from(self, position: int, reason: str) -> Iterator[BrokenOffRecord]:
        """A new host hears from there on: what lies before it, and was heard by nobody, is told."""
        before = [each for each in self.begun.values() if each.known_to < position and each.end is not None]
        for each in before:
            del self.begun[each.turn_id]
            yield self._broken_off(each, reason, end=position)
        if self.heard_to and position - self.heard_to > AXIS_RATE // 5 and not self.begun:
            yield self._stretch(self.heard_to, reason, end=position)

    def nobody_answers(self, reason: str) -> Iterator[BrokenOffRecord]:
        """The session is over, and what its hosts left is still not answered."""
        left = sorted((each for each in self.begun.values() if each.left), key=lambda each: each.start)
        for place, each in enumerate(left, 1):
            yield self._broken_off(each, reason, end=left[place].start if place < len(left) else None)
        self.begun.clear()

    def lost(self, reason: str) -> Iterator[BrokenOffRecord | SessionRecord]:
        """It ends without a host: what was being said, or may have been."""
        yield from self.host_gone(reason)
        told = bool(self.begun)
        yield from self.nobody_answers(reason)
        if self.closed:
            return
        if not told:
            yield self._stretch(max(self.settled, self.heard_to - round(UNTOLD_SECONDS * AXIS_RATE)), reason)
        yield self.plan.lost(reason)

    def _broken_off(self, each: Begun, reason: str, end: int | None = None, given: bool = False) -> BrokenOffRecord:
        return BrokenOffRecord(
            project=self.plan.project, session_id=self.plan.session_id, turn_id=each.turn_id,
            recording=self.plan.recording, start=each.start, heard_to=each.known_to, end=end, given=given,
            transcript=each.transcript, reply_text=each.reply, reason=reason[:MAX_LINE],
        )  # fmt: skip

    def _stretch(self, start: int, reason: str, end: int | None = None) -> BrokenOffRecord:
        """Nobody knows whether anything was said there."""
        name = f"{self.plan.project}/{self.plan.session_id}/{self.plan.recording}/{start}"
        turn_id = uuid.uuid5(uuid.NAMESPACE_URL, name).hex
        return self._broken_off(Begun(turn_id, start), reason, end)
