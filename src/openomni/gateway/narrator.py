"""Tells one client what its host does: session outputs in, protocol events and reply audio out.

A turn has three names on the wire, all made from its id: the user's item, the response, and the assistant's item.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from ..events import (
    AXIS_RATE,
    Answering,
    Dismissed,
    Heard,
    ReplyEnd,
    ReplyPaused,
    ReplyResumed,
    ReplySound,
    ReplyText,
    SessionOutput,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    TurnDone,
)
from .declined import Declined
from .protocol import SDK_RATE, Json, encode, error, pack_reply

if TYPE_CHECKING:
    import soxr

    from .settings import SessionSettings

AudioForm = Literal["base64", "binary", "none"]
"""How a client wants reply audio: base64 at 24 kHz in events, binary frames at the voice's own rate, or not at all."""

KEPT_ITEMS = 4000
KEPT_TURNS = 64
"""Turns that are remembered; older ones that never ended are forgotten."""


@dataclass(slots=True)
class Turn:
    """What was told of one turn so far."""

    turn_id: str
    item_id: str
    start: int = 0
    end: int = 0
    user_item: bool = False
    """The user's item was announced."""
    heard: str = ""
    text: str = ""
    response: Literal["", "created", "speaking", "done"] = ""
    cancelled: bool = False
    resampler: soxr.ResampleStream | None = None
    over: bool = False
    """The turn was recorded: nothing is awaited of it."""
    asked: bool = False
    """Somebody wants an answer."""
    text_only: bool = False
    metadata: Json | None = None
    """What the client wrote on its request."""
    calls: list[Json] = field(default_factory=list)
    """The tools that the reply asks for, as items."""

    @property
    def awaited(self) -> bool:
        """Whether more of its reply is to come."""
        decided = bool(self.end or self.response)
        return decided and self.asked and self.response != "done" and not (self.over or self.cancelled)

    @property
    def response_id(self) -> str:
        return f"resp_{self.turn_id}"

    @property
    def reply_item_id(self) -> str:
        return f"msg_{self.turn_id}"

    @property
    def place(self) -> Json:
        return {"response_id": self.response_id, "item_id": self.reply_item_id, "output_index": 0, "content_index": 0}


@dataclass(slots=True)
class Asked:
    """An answer that the client asked for, and whose turn has not begun. `item`: what it typed, which is answered."""

    text_only: bool = False
    metadata: Json | None = None
    item: str | None = None
    cancelled: bool = False


class Narrator:
    """Turns `SessionOutput`s into WebSocket messages: `str` is an event, `bytes` a binary frame.

    A turn whose item the client committed itself is told without `speech_started` and `speech_stopped`.
    """

    def __init__(self, session_id: str, audio: AudioForm = "base64", opted_in: bool = False) -> None:
        self.session_id = session_id
        self.audio = audio
        self.opted_in = opted_in
        self.answers_itself = True
        """An utterance that ended is answered, without anybody asking for it."""
        self.text_only = False
        self._turns: dict[str, Turn] = {}
        self._committed: deque[str] = deque()
        """Utterances that the client ended, whose turns have not begun."""
        self._typed: str | None = None
        self._expected: Asked | None = None
        """The next turn answers it."""
        self._requests: dict[str, Asked] = {}
        """Of which the host says which turn answers them."""
        self._items: dict[str, Json] = {}
        self.last_item: str | None = None
        self._numbers = count(1)
        self._declined = Declined()

    @property
    def active(self) -> Turn | None:
        """The newest turn whose reply is awaited or under way."""
        return next((turn for turn in reversed(self._turns.values()) if turn.awaited), None)

    def event(self, kind: str, **fields: Any) -> str:
        return encode({"type": kind, "event_id": f"event_{self.session_id[:12]}_{next(self._numbers)}", **fields})

    @property
    def busy(self) -> bool:
        """An answer is under way, or asked for."""
        return bool(self._expected or self._requests or self.active)

    def follow(self, settings: SessionSettings) -> None:
        """What the client set holds for what is told."""
        self.answers_itself, self.text_only = settings.answers_itself, settings.text_only

    def ask(self, text_only: bool = False, metadata: Json | None = None, request: str | None = None) -> None:
        """The client wants an answer: to the utterance that waits for one, or to what it typed, or to nothing."""
        waiting = [turn for turn in self._turns.values() if turn.end and not turn.asked and not turn.over]
        if waiting:
            waiting[-1].asked, waiting[-1].text_only = True, text_only or self.text_only
            waiting[-1].metadata = metadata
            return
        asked, self._typed = Asked(text_only, metadata, self._typed), None
        if request is None:
            self._expected = asked
        else:
            self._requests[request] = asked

    def host_lost(self) -> None:
        """What was asked of it is not answered by the next one, unless it is asked again."""
        self._expected = None
        self._requests.clear()

    def user_item(self, item: Json, typed: bool) -> Iterator[str]:
        """An item that the client made itself. `typed`: the next answer is to it."""
        if typed:
            self._typed = item["id"]
        yield from self._item(item, done=True)

    def committed(self, item_id: str) -> Iterator[str]:
        """The client ended its utterance; the next turn that begins is its."""
        self._committed.append(item_id)
        yield self.event("input_audio_buffer.committed", item_id=item_id, previous_item_id=self.last_item)
        yield from self._item(_item(item_id, "user", [{"type": "input_audio", "transcript": None}], "completed"))

    # ---- items ----

    def knows(self, item_id: str) -> bool:
        return item_id in self._items

    def retrieved(self, item_id: str) -> str:
        return self.event("conversation.item.retrieved", item=self._items[item_id])

    def forget(self, item_id: str) -> str:
        del self._items[item_id]
        if self.last_item == item_id:
            self.last_item = next(reversed(self._items), None)
        return self.event("conversation.item.deleted", item_id=item_id)

    def turn_of_reply(self, item_id: str) -> str | None:
        """The turn that an assistant's item is the reply of."""
        turn = self._turns.get(item_id.removeprefix("msg_"))
        return turn.turn_id if turn is not None and item_id == turn.reply_item_id else None

    def name_at_host(self, item_id: str) -> str:
        """The host knows what was said in a turn by that turn."""
        for turn in self._turns.values():
            if item_id == turn.reply_item_id:
                return f"reply:{turn.turn_id}"
            if item_id == turn.item_id:
                return f"user:{turn.turn_id}"
        return item_id

    # ---- what the host says ----

    def tell(self, output: SessionOutput) -> Iterator[str | bytes]:
        match output:
            case ReplySound():
                yield from self._sound(output)
            case ReplyText():
                yield from self._text(output)
            case ToolCalled():
                yield from self._tool_called(output)
            case SpeechStarted():
                yield from self._speech_started(output)
            case SpeechStopped():
                yield from self._speech_stopped(output)
            case Heard():
                yield from self._heard(output)
            case ReplyPaused() if self.opted_in:
                yield self.event("openomni.reply.paused", turn_id=output.turn_id)
            case ReplyResumed() if self.opted_in:
                yield self.event("openomni.reply.resumed", turn_id=output.turn_id)
            case Dismissed() if self.opted_in:
                yield self._dismissed(output)
            case ReplyEnd():
                yield from self._reply_end(output)
            case Answering():
                asked = self._requests.pop(output.request_id, None) or Asked()
                if output.turn_id not in self._turns:
                    # Nobody spoke: also where another line of the client's had asked, there is nothing to announce.
                    self._add(output.turn_id, asked.item, asked).user_item = True
                if self.opted_in:
                    yield self.event("openomni.answering", request=output.request_id, turn_id=output.turn_id)
            case TurnDone():
                # It may be about a turn of long ago, of which more is known now: that begins none.
                if (turn := self._turns.get(output.turn_id)) is not None:
                    turn.over = True
                if self.opted_in:
                    yield self.event("openomni.turn.done", turn=msgspec.Raw(output.record))
                else:
                    yield from map(encode, self._declined.errors(output.record))

    def cancel(self, turn: Turn | None) -> None:
        """The client wants no more of that reply, or of the one that it asked for and that has not begun: what is still
        on its way is not passed on."""
        if turn is not None:
            turn.cancelled = True
        else:
            for asked in (self._expected, *self._requests.values()):
                if asked is not None:
                    asked.cancelled = True

    def _turn(self, turn_id: str) -> Turn:
        turn = self._turns.get(turn_id)
        if turn is not None:
            return turn
        asked, made = self._expected, None
        if self._committed:
            made = self._committed.popleft()
            asked = None if self._committed else asked  # the newest utterance is answered
        elif asked is not None:
            made = asked.item
        if asked is not None:
            self._expected = None
        return self._add(turn_id, made, asked)

    def _add(self, turn_id: str, made: str | None, asked: Asked | None) -> Turn:
        """`made`: the item that the client made itself."""
        turn = self._turns[turn_id] = Turn(turn_id, made or f"item_{turn_id}", user_item=made is not None)
        turn.text_only = self.text_only
        if asked is not None:
            turn.asked, turn.cancelled, turn.metadata = True, asked.cancelled, asked.metadata
            turn.text_only = self.text_only or asked.text_only
        while len(self._turns) > KEPT_TURNS:
            del self._turns[next(iter(self._turns))]
        return turn

    def _item(self, item: Json, done: bool = False) -> Iterator[str]:
        yield self.event("conversation.item.added", previous_item_id=self.last_item, item=item)
        if done:
            yield self.event("conversation.item.done", previous_item_id=self.last_item, item=item)
        self._keep(item)
        self.last_item = item["id"]

    def _keep(self, item: Json) -> None:
        self._items[item["id"]] = item
        while len(self._items) > KEPT_ITEMS:
            del self._items[next(iter(self._items))]

    def _speech_started(self, output: SpeechStarted) -> Iterator[str]:
        turn = self._turn(output.turn_id)
        turn.start = output.position
        if not turn.user_item:
            start = _ms(output.position)
            yield self.event("input_audio_buffer.speech_started", audio_start_ms=start, item_id=turn.item_id)

    def _speech_stopped(self, output: SpeechStopped) -> Iterator[str]:
        turn = self._turn(output.turn_id)
        turn.end = max(output.position, 1)
        turn.start = turn.start if output.start is None else output.start
        turn.asked = turn.asked or self.answers_itself
        if not turn.user_item:
            turn.user_item = True
            end = _ms(output.position)
            yield self.event("input_audio_buffer.speech_stopped", audio_end_ms=end, item_id=turn.item_id)
            yield self.event("input_audio_buffer.committed", item_id=turn.item_id, previous_item_id=self.last_item)
            part = {"type": "input_audio", "transcript": None}
            yield from self._item(_item(turn.item_id, "user", [part], "completed"))

    def _heard(self, output: Heard) -> Iterator[str]:
        turn = self._turn(output.turn_id)
        kind = "conversation.item.input_audio_transcription"
        # A partial transcript that takes words back has no form in the protocol; the final one sets it right.
        if output.text.startswith(turn.heard) and len(output.text) > len(turn.heard):
            delta = output.text[len(turn.heard) :]
            yield self.event(f"{kind}.delta", item_id=turn.item_id, content_index=0, delta=delta)
            turn.heard = output.text
        if output.final:
            usage = {"type": "duration", "seconds": max(turn.end - turn.start, 0) / AXIS_RATE}
            yield self.event(
                f"{kind}.completed", item_id=turn.item_id, content_index=0, transcript=output.text, usage=usage
            )
            item = _item(turn.item_id, "user", [{"type": "input_audio", "transcript": output.text}], "completed")
            self._keep(item)
            yield self.event("conversation.item.done", previous_item_id=None, item=item)

    def _dismissed(self, output: Dismissed) -> str:
        times = {"audio_start_ms": _ms(output.start), "audio_end_ms": _ms(output.end)}
        said = {"transcript": output.text, "log_probability": output.log_probability, "why": output.why}
        return self.event("openomni.dismissed", turn_id=output.turn_id, **times, **said)

    def _created(self, turn: Turn) -> Iterator[str]:
        if not turn.response:
            turn.response, turn.asked = "created", True
            yield self.event("response.created", response=self._response(turn, "in_progress", []))

    def _speaking(self, turn: Turn) -> Iterator[str]:
        yield from self._created(turn)
        if turn.response == "created":
            turn.response = "speaking"
            item = _item(turn.reply_item_id, "assistant", [], "in_progress")
            yield self.event("response.output_item.added", response_id=turn.response_id, output_index=0, item=item)
            yield from self._item(item)
            part = {"type": "text", "text": ""} if turn.text_only else {"type": "audio", "transcript": ""}
            yield self.event("response.content_part.added", **turn.place, part=part)

    def _text(self, output: ReplyText) -> Iterator[str]:
        turn = self._turn(output.turn_id)
        if turn.response == "done" or turn.cancelled:
            return
        yield from self._speaking(turn)
        turn.text += output.text
        kind = "response.output_text.delta" if turn.text_only else "response.output_audio_transcript.delta"
        yield self.event(kind, **turn.place, delta=output.text)

    def _tool_called(self, output: ToolCalled) -> Iterator[str]:
        turn, call = self._turn(output.turn_id), output.call
        if turn.response == "done" or turn.cancelled:
            return
        yield from self._created(turn)
        item: Json = {
            "id": f"fc_{call.call_id}", "object": "realtime.item", "type": "function_call", "status": "in_progress",
            "call_id": call.call_id, "name": call.name, "arguments": "",
        }  # fmt: skip
        index = len(turn.calls) + (turn.response == "speaking")
        of = {"response_id": turn.response_id, "output_index": index}
        yield self.event("response.output_item.added", **of, item=item)
        before = self.last_item
        yield from self._item(item)
        place = {**of, "item_id": item["id"], "call_id": call.call_id}
        yield self.event("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self.event("response.function_call_arguments.done", **place, name=call.name, arguments=call.arguments)
        item = {**item, "status": "completed", "arguments": call.arguments}
        turn.calls.append(item)
        self._keep(item)
        yield self.event("response.output_item.done", **of, item=item)
        yield self.event("conversation.item.done", previous_item_id=before, item=item)

    def _sound(self, output: ReplySound) -> Iterator[str | bytes]:
        turn = self._turn(output.turn_id)
        if turn.response == "done" or turn.cancelled:
            return
        yield from self._speaking(turn)
        if self.audio == "binary":
            yield pack_reply(output.turn_id, output.rate, output.offset, output.pcm)
        elif self.audio == "base64":
            yield from self._audio(turn, self._resampled(turn, output))

    def _audio(self, turn: Turn, pcm: bytes) -> Iterator[str]:
        if pcm:
            yield self.event("response.output_audio.delta", **turn.place, delta=b64encode(pcm).decode())

    def _resampled(self, turn: Turn, output: ReplySound) -> bytes:
        if output.rate == SDK_RATE:
            return output.pcm
        if turn.resampler is None:
            turn.resampler = stream_resampler(output.rate, SDK_RATE)
        return turn.resampler.resample_chunk(np.frombuffer(output.pcm, "<i2")).tobytes()  # type: ignore[no-any-return]

    def _reply_end(self, output: ReplyEnd) -> Iterator[str]:
        if self.opted_in and self.audio != "none":
            # Also behind the end of the response: speech may cut a reply that was all sent and is still being heard.
            yield self.event("openomni.reply.ended", turn_id=output.turn_id, status=output.status)
        turn = self._turn(output.turn_id)
        if turn.response == "done" or (not turn.asked and not turn.response and output.status == "completed"):
            return
        yield from self._created(turn)
        items: list[Json] = []
        if turn.response == "speaking":
            if turn.resampler is not None and output.status == "completed":
                yield from self._audio(turn, turn.resampler.resample_chunk(np.empty(0, np.int16), last=True).tobytes())
            items = [_item(turn.reply_item_id, "assistant", [_spoken(turn)], _item_status(output))]
            yield from self._finished(turn, items[0])
        items += turn.calls
        turn.response = "done"
        turn.resampler = None
        details = _details(output, turn.cancelled)
        yield self.event("response.done", response=self._response(turn, output.status, items, details))
        if output.status == "failed" and not self.opted_in:
            yield encode(error("reply_failed", output.reason or "the reply failed", kind="server_error"))

    def _finished(self, turn: Turn, item: Json) -> Iterator[str]:
        if turn.text_only:
            yield self.event("response.output_text.done", **turn.place, text=turn.text)
            part: Json = {"type": "text", "text": turn.text}
        else:
            if self.audio == "base64":
                yield self.event("response.output_audio.done", **turn.place)
            yield self.event("response.output_audio_transcript.done", **turn.place, transcript=turn.text)
            part = {"type": "audio", "transcript": turn.text}
        yield self.event("response.content_part.done", **turn.place, part=part)
        yield self.event("response.output_item.done", response_id=turn.response_id, output_index=0, item=item)
        self._keep(item)
        yield self.event("conversation.item.done", previous_item_id=turn.item_id, item=item)

    def _response(self, turn: Turn, status: str, items: list[Json], details: Json | None = None) -> Json:
        return {
            "id": turn.response_id,
            "object": "realtime.response",
            "conversation_id": f"conv_{self.session_id}",
            "status": status,
            "status_details": details,
            "output": items,
            "output_modalities": ["text"] if turn.text_only else ["audio"],
            "usage": None,
            "metadata": turn.metadata,
        }


def stream_resampler(source: int, target: int) -> soxr.ResampleStream:
    """For PCM16 that comes in pieces. `LQ`, because the better filters hold back 40 ms of sound, which is latency."""
    import soxr

    return soxr.ResampleStream(source, target, 1, dtype="int16", quality="LQ")


def _item(item_id: str, role: str, content: list[Json], status: str) -> Json:
    return {
        "id": item_id, "object": "realtime.item", "type": "message", "role": role, "status": status, "content": content,
    }  # fmt: skip


def _spoken(turn: Turn) -> Json:
    if turn.text_only:
        return {"type": "output_text", "text": turn.text}
    return {"type": "output_audio", "transcript": turn.text}


def _item_status(output: ReplyEnd) -> str:
    return "completed" if output.status == "completed" else "incomplete"


def _details(output: ReplyEnd, by_client: bool) -> Json | None:
    match output.status:
        case "completed":
            return None
        case "cancelled":
            return {"type": "cancelled", "reason": "client_cancelled" if by_client else "turn_detected"}
        case _:
            return {"type": "failed", "error": {"type": "server_error", "code": "reply_failed"}}


def _ms(position: int) -> int:
    return position * 1000 // AXIS_RATE
