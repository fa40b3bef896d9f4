"""An ear: a loudspeaker that plays on a clock alone, and writes down what was heard of each reply and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ... import clock
from ..listener.sources import BLOCK_S
from ..responder.sinks import Report, VirtualSpeaker
from ..wire import Playback, ReplyChunk


@dataclass(slots=True)
class HeardReply:
    """What the ear heard of a reply; stamps on this clock."""

    turn_id: str
    came: float
    """Its first sound came from the gateway."""
    audible: float | None = None
    length: float = 0.0
    """Seconds of sound that came."""
    played: float = 0.0
    """Seconds of it that were played in the end."""
    over: float | None = None
    cut: bool = False
    """It ended before all was played."""
    pauses: list[tuple[float, float | None]] = field(default_factory=list)
    """When it fell silent and when it went on; None when it did not."""

    def silenced(self, after: float) -> float | None:
        """When it first fell silent after a stamp, for whatever reason but having said all."""
        falls = [begun for begun, _ in self.pauses] + ([self.over] if self.cut and self.over is not None else [])
        return min((at for at in falls if at >= after), default=None)

    def sounding(self, at: float) -> bool:
        """Whether it was being heard at a stamp."""
        if self.audible is None or at < self.audible or (self.over is not None and at >= self.over):
            return False
        return not any(begun <= at and (end is None or at < end) for begun, end in self.pauses)


class Ear(VirtualSpeaker):
    """A virtual loudspeaker that writes down when what was heard."""

    def __init__(self, report: Report, changed: Callable[[], None]) -> None:
        super().__init__(self._note)
        self.replies: dict[str, HeardReply] = {}
        self._tell_gateway, self._changed = report, changed

    def play(self, chunk: ReplyChunk) -> None:
        reply = self.replies.get(chunk.turn_id)
        if reply is None:
            reply = self.replies[chunk.turn_id] = HeardReply(chunk.turn_id, clock.now())
        if reply.over is None:  # what was still on its way when it was cut is not played
            reply.length += chunk.seconds
            super().play(chunk)

    def end(self, turn_id: str, status: str) -> None:
        reply, now = self.replies.get(turn_id), clock.now()
        super().end(turn_id, status)
        if reply is not None and status != "completed" and reply.cut is False and reply.over is None:
            reply.over, reply.cut = now, True
        self._changed()

    def pause(self, turn_id: str) -> None:
        reply = self.replies.get(turn_id)
        super().pause(turn_id)
        if reply is not None and reply.over is None and (not reply.pauses or reply.pauses[-1][1] is not None):
            reply.pauses.append((clock.now(), None))
        self._changed()

    def resume(self, turn_id: str) -> None:
        reply = self.replies.get(turn_id)
        super().resume(turn_id)
        if reply is not None and reply.pauses and reply.pauses[-1][1] is None:
            reply.pauses[-1] = (reply.pauses[-1][0], clock.now())
        self._changed()

    def _note(self, playback: Playback) -> None:
        reply = self.replies[playback.turn_id]
        reply.audible, reply.played = playback.audible, playback.seconds
        if playback.ended and reply.over is None:
            # A reply that said all is over at its last sample; one that did not was cut.
            reply.over = clock.now()
            reply.cut = playback.seconds < reply.length - BLOCK_S
        self._tell_gateway(playback)
        self._changed()
