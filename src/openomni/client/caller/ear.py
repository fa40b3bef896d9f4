"""An ear: a loudspeaker that plays on a clock alone, and writes down what was heard of each reply and when."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ... import clock
from ..listener.sources import BLOCK_S
from ..responder.sinks import Report, VirtualSpeaker
from ..wire import Playback, ReplyChunk

CHARACTERS_A_SECOND = 15.0
"""How fast a voice speaks, where nothing better is known of it."""

_WORD = re.compile(r"\S+")


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
    started: float | None = None
    """Its first sample was played, silent or not."""
    whole: bool = False
    """All of its sound has come."""
    text: str = ""
    """What it says, as far as that was told."""

    def word_at(self, number: int) -> float | None:
        """When its word of that number, from 1, begins to be heard, as far as it can be told by now; None for a word
        that it does not have, or not yet.

        Nobody says at the client when a word is spoken: the words are laid over the sound that they are spread over
        evenly, by their characters, and over `CHARACTERS_A_SECOND` while the rest of the sound is still to come.
        """
        words = list(_WORD.finditer(self.text))
        if self.started is None or self.audible is None or len(words) < number:
            return None
        before = words[number - 1].start()
        silent = self.audible - self.started
        spoken = max(self.length - silent, 0.0) * before / len(self.text)
        at = self.audible + (spoken if self.whole else before / CHARACTERS_A_SECOND)
        for begun, end in self.pauses:
            if begun <= at:
                at += (clock.now() if end is None else end) - begun
        return at

    def heard_within(self, start: float, end: float) -> float:
        """Seconds between two stamps in which it was sounding."""
        if self.audible is None:
            return 0.0
        last = clock.now() if self.over is None else self.over
        silent = [(begun, last if on is None else on) for begun, on in self.pauses]
        lost = sum(max(min(on, end, last) - max(begun, start, self.audible), 0.0) for begun, on in silent)
        return max(min(end, last) - max(start, self.audible) - lost, 0.0)

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
        self._texts: dict[str, str] = {}
        """What was told of replies whose sound has not come yet."""

    def says(self, turn_id: str, text: str) -> None:
        """More of the words of a reply."""
        reply = self.replies.get(turn_id)
        if reply is None:
            self._texts[turn_id] = self._texts.get(turn_id, "") + text
        else:
            reply.text += text

    def play(self, chunk: ReplyChunk) -> None:
        reply = self.replies.get(chunk.turn_id)
        if reply is None:
            reply = HeardReply(chunk.turn_id, clock.now(), text=self._texts.pop(chunk.turn_id, ""))
            self.replies[chunk.turn_id] = reply
        if reply.over is None:  # what was still on its way when it was cut is not played
            reply.length += chunk.seconds
            super().play(chunk)

    def end(self, turn_id: str, status: str) -> None:
        reply, now = self.replies.get(turn_id), clock.now()
        super().end(turn_id, status)
        if reply is not None and status == "completed":
            reply.whole = True
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
        reply.started, reply.audible, reply.played = playback.started, playback.audible, playback.seconds
        if playback.ended and reply.over is None:
            # A reply that said all is over at its last sample; one that did not was cut.
            reply.over = clock.now()
            reply.cut = playback.seconds < reply.length - BLOCK_S
        self._tell_gateway(playback)
        self._changed()
