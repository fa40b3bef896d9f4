"""The live listener: what a source captures goes out at once; what comes back is played and collected."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from ...errors import OpenOmniError
from ...storage.api import AWAY_PATIENCE_S
from ..connection import Down, Link, Received, Up
from ..replies import ReplyFolder
from ..responder.responder import error_line
from ..responder.sinks import Report, Sink
from ..wire import Playback, ReplyChunk, captured_sound, read_captured_sound
from .sources import BLOCK, BLOCK_S, Block, Captured, CapturedPicture, CaptureSource, UtteranceEnd

ECHO_TAIL_S = 0.3
"""How long a room goes on sounding after the loudspeaker fell silent."""
HELD_S = 30.0
"""Captured sound that waits for a connection that is slow or away; older is left to the upload of the recording."""
AGAIN_S = 2.0
"""Of the sound before a break so much is sent again, for it may be lost on the way; what comes twice counts once.
Where the gateway says what its host is to hear again, it is that."""
_AUDIO_END = {"type": "openomni.audio_end"}
_NO_TURN_DETECTION = {
    "type": "session.update",
    "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}},
}
_FINAL = {"completed", "failed", "cancelled", "superseded"}

Turn = dict[str, Any]


@dataclass
class Told:
    """Whom the listener tells: of each turn when it is over, and of what happens, in a line for a person."""

    turn: Callable[[Turn], None]
    notice: Callable[[str], None]
    text: Callable[[str, str], None] = lambda turn_id, text: None
    """More of the words of a reply, by its turn, as they are written."""


@dataclass
class Undelivered:
    """What did not go out live; the recording has it."""

    seconds: float = 0.0
    pictures: int = 0


@dataclass
class _Progress:
    turns: dict[str, Turn] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    capture_over: bool = False
    gone: bool = False
    """The session is over, whoever ended it."""
    parting_words: str = ""
    """Why the gateway ended it, where it was not asked to."""


class Listener:
    """One live session from the first captured sample to the last reply."""

    def __init__(
        self, link: Link, source: CaptureSource, new_sink: Callable[[Report], Sink], replies: ReplyFolder, told: Told,
        *, reports: bool, full_duplex: bool, wait: bool,
    ) -> None:  # fmt: skip
        """`reports`: the sink's playback is what the person hears, and the gateway is told of it; else the sink only
        follows what a responder plays. `wait`: stay until the last reply was heard."""
        self.undelivered = Undelivered()
        self.breaks: list[str] = []
        """Why the session did not go on without a gap: the connection broke, or its agent was gone."""
        self._link, self._source, self._replies, self._told = link, source, replies, told
        self._reports = reports
        self._mutes = source.ambient and not full_duplex
        self._wait = wait
        self._progress = _Progress()
        self._outgoing: asyncio.Queue[Captured | None] = asyncio.Queue(round(HELD_S / BLOCK_S))
        self._sent: deque[bytes] = deque(maxlen=round(HELD_S / BLOCK_S))
        self._again: list[dict[str, Any] | bytes] = []
        """What goes first on a link that stands again."""
        self._standing = asyncio.Event()
        """Set when the link comes back, or never will."""
        self._playbacks: asyncio.Queue[Playback] = asyncio.Queue()
        self._sink = new_sink(self._playbacks.put_nowait)

    @property
    def turns(self) -> list[Turn]:
        """Every turn as last told, in their order; `reply_audio` is the path of the reply's WAV."""
        turns = sorted(self._progress.turns.values(), key=lambda turn: turn.get("index", 0))
        return [self._with_reply(turn) for turn in turns]

    async def run(self) -> None:
        """Raises OpenOmniError when the source fails, the gateway says no, or the session ends with a reason."""
        try:
            async with asyncio.TaskGroup() as group:
                receiving = group.create_task(self._receive_all())
                reporting = group.create_task(self._report())
                sending = group.create_task(self._send())
                await self._capture()
                await sending
                if self._wait:
                    await receiving
                await self._link.close()
                reporting.cancel()
        except BaseExceptionGroup as group_error:
            # One line for a person: the first cause.
            raise _first(group_error) from None
        finally:
            await self._sink.close()
            self._replies.close()
            for turn in self.turns:
                self._show(turn)
        if self._progress.parting_words:
            raise OpenOmniError(f"the session ended early: {self._progress.parting_words}")

    async def _receive_all(self) -> None:
        await self._link.run(self._receive)
        self._progress.gone = True
        self._standing.set()
        self._source.stop()

    async def _capture(self) -> None:
        """Never waits for the network."""
        if self._source.decides_turns:
            await self._link.send(_NO_TURN_DETECTION)
        async with aclosing(self._source.capture()) as captured:  # type: ignore[type-var]
            async for item in captured:
                if self._progress.gone:
                    break
                self._offer(item)
        # For what is still to be sent, and for the last replies.
        self._link.patience_s = AWAY_PATIENCE_S
        self._offer(None)

    def _offer(self, item: Captured | None) -> None:
        if self._outgoing.full():
            self._left_out(self._outgoing.get_nowait())
        self._outgoing.put_nowait(item)

    def _left_out(self, item: Captured | None) -> None:
        if isinstance(item, Block):
            self.undelivered.seconds += BLOCK_S
        elif isinstance(item, CapturedPicture):
            self.undelivered.pictures += 1

    async def _send(self) -> None:
        while (item := await self._outgoing.get()) is not None:
            if not await self._deliver(self._message(item)):
                self._left_out(item)
        await self._deliver(_AUDIO_END)
        self._progress.capture_over = True

    async def _deliver(self, message: dict[str, Any] | bytes) -> bool:
        """Sends it, now or once the link stands again; False when it never will."""
        while not self._progress.gone:
            await self._repeat()
            if await self._link.send(message):
                if isinstance(message, bytes):
                    self._sent.append(message)
                return True
            if not self._progress.gone:
                self._standing.clear()
                await self._standing.wait()
        return False

    async def _repeat(self) -> None:
        """Sends what goes first after a break. Where the link breaks over it, all of it goes first after that."""
        while self._again:
            await self._link.send(self._again.pop(0))

    def _message(self, item: Captured) -> dict[str, Any] | bytes:
        match item:
            case Block(position, captured, pcm):
                if self._mutes and self._sink.sounding(captured + BLOCK_S, ECHO_TAIL_S):
                    pcm = bytes(len(pcm))
                return captured_sound(position, captured, pcm)
            case CapturedPicture(position, jpeg):
                return {"type": "openomni.frame", "position": position, "jpeg": base64.b64encode(jpeg).decode()}
            case UtteranceEnd():
                return {"type": "input_audio_buffer.commit"}

    async def _report(self) -> None:
        while True:
            playback = await self._playbacks.get()
            if self._reports:
                await self._link.report(playback)

    def _to_say_again(self, up: Up) -> list[bytes]:
        if up.again_from is None:
            return list(self._sent)[-round(AGAIN_S / BLOCK_S) :]
        return [frame for frame in self._sent if read_captured_sound(frame)[0] + BLOCK > up.again_from]

    def _stands_again(self, up: Up) -> None:
        """After a break the gateway may be another one, which has to be told anew; the one that knows us would take the
        telling for the beginning of an utterance."""
        told = [_NO_TURN_DETECTION] if self._source.decides_turns and not up.resumed else []
        self._again = [*told, *self._to_say_again(up)]
        self._standing.set()
        if self._progress.capture_over:
            self._again.append(_AUDIO_END)
            self._greeting = asyncio.get_running_loop().create_task(self._repeat())

    def _receive(self, message: Received) -> None:
        match message:
            case ReplyChunk():
                self._replies.write(message)
                self._sink.play(message)
            case Down(reason):
                self.breaks.append(reason)
                self._told.notice(f"{reason}; capturing on, and trying to connect again")
            case Up():
                self._told.notice("connected again")
                self._progress.parting_words = ""
                self._stands_again(message)
            case {"type": "response.done", "response": {"id": str(response_id), "status": str(status)}}:
                self._end_reply(response_id.removeprefix("resp_"), status)
            case {"type": "response.output_audio_transcript.delta", "response_id": str(response_id)}:
                self._told.text(response_id.removeprefix("resp_"), str(message.get("delta", "")))
            case {"type": "openomni.reply.ended", "turn_id": str(turn_id)}:
                self._end_reply(turn_id, str(message.get("status", "completed")))
            case {"type": "openomni.reply.paused", "turn_id": str(turn_id)}:
                self._sink.pause(turn_id)
            case {"type": "openomni.reply.resumed", "turn_id": str(turn_id)}:
                self._sink.resume(turn_id)
            case {"type": "openomni.turn.done", "turn": dict(turn)}:
                self._note(turn)
            case {"type": "openomni.session.ended"}:
                self._end_session(message)
            case {"type": "error"}:
                self._told.notice(error_line(message))

    def _end_reply(self, turn_id: str, status: str) -> None:
        self._replies.finish(turn_id)
        self._sink.end(turn_id, status)

    def _note(self, turn: Turn) -> None:
        """A turn is told again when more is known of it, such as when it was heard."""
        known = self._progress.turns.get(turn["turn_id"])
        if known is None or turn.get("version", 1) >= known.get("version", 1):
            self._progress.turns[turn["turn_id"]] = turn
        if turn.get("interrupted"):
            # The reply may have been complete, and cut while it was still being heard.
            self._sink.end(turn["turn_id"], "cancelled")
        if turn.get("status") in _FINAL and self._complete(turn):
            self._show(turn)

    def _complete(self, turn: Turn) -> bool:
        """Whether no better account of it is to be expected."""
        spoken = self._replies.path(turn["turn_id"]).exists()
        return not (self._reports and spoken) or turn.get("heard_at") == "client" or bool(turn.get("interrupted"))

    def _show(self, turn: Turn) -> None:
        if turn["turn_id"] not in self._progress.shown:
            self._progress.shown.add(turn["turn_id"])
            self._told.turn(self._with_reply(turn))

    def _with_reply(self, turn: Turn) -> Turn:
        path = self._replies.finish(turn["turn_id"])
        return {**turn, "reply_audio": str(path) if path else ""}

    def _end_session(self, message: dict[str, Any]) -> None:
        """What follows a reason is the gateway's close, whose code says whether we may come back."""
        reason = str(message.get("reason") or "")
        if message.get("resuming"):
            self.breaks.append(reason)
            self._told.notice(f"{reason}; another agent takes over")
        elif reason:
            self._progress.parting_words = reason
        else:
            self._closing = asyncio.get_running_loop().create_task(self._link.close())


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
