"""Tells one client what its host does: session outputs in, protocol events and reply audio out."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from itertools import count
from typing import Any, Literal

import msgspec
import numpy as np

from ..events import (
    AXIS_RATE,
    Answering,
    Dismissed,
    Heard,
    NothingCommitted,
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
from .conversation_ledger import ItemLedger, ToldTurn, TurnLedger
from .declined_options import DeclinedOptions
from .protocol import SDK_RATE, Json, encode, error, pack_reply
from .resampling import stream_resampler

AudioForm = Literal["base64", "binary", "none"]
"""How a client wants reply audio: base64 at 24 kHz in events, binary frames at the voice's own rate, or not at all."""


class ServerEvents:
    """Turns `SessionOutput`s into WebSocket messages: `str` is an event, `bytes` a binary frame.

    A turn whose item the client committed itself is told without `speech_started` and `speech_stopped`.
    """

    def __init__(self, session_id: str, audio: AudioForm = "base64", opted_in: bool = False) -> None:
        self.session_id = session_id
        self.audio = audio
        self.opted_in = opted_in
        self.turns = TurnLedger()
        self.items = ItemLedger()
        self._numbers = count(1)
        self._declined = DeclinedOptions()

    def event(self, kind: str, **fields: Any) -> str:
        return encode({"type": kind, "event_id": f"event_{self.session_id[:12]}_{next(self._numbers)}", **fields})

    def user_item(self, item: Json, typed: bool, size: int = 0) -> Iterator[str]:
        """An item that the client made itself, of `size` bytes. `typed`: the next answer is to it."""
        if typed:
            self.turns.typed(item["id"])
        yield from self._item(item, done=True, made=size)

    def committed(self, item_id: str) -> Iterator[str]:
        """The client ended its utterance; the next turn that begins is its."""
        self.turns.committed(item_id)
        yield self.event("input_audio_buffer.committed", item_id=item_id, previous_item_id=self.items.last)
        yield from self._item(_item(item_id, "user", [{"type": "input_audio", "transcript": None}], "completed"))

    # ---- items ----

    def retrieved(self, item_id: str) -> str:
        return self.event("conversation.item.retrieved", item=self.items[item_id])

    def forget(self, item_id: str) -> str:
        self.items.forget(item_id)
        return self.event("conversation.item.deleted", item_id=item_id)

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
            case NothingCommitted() if not self.opted_in:
                yield encode(error("input_audio_buffer_commit_empty", "nothing was said that could be committed"))
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
                self.turns.answering(output.request_id, output.turn_id)
                if self.opted_in:
                    yield self.event("openomni.answering", request=output.request_id, turn_id=output.turn_id)
            case TurnDone():
                # It may be about a turn of long ago, of which more is known now: that begins none.
                if (turn := self.turns.find(output.turn_id)) is not None:
                    turn.over = True
                if self.opted_in:
                    yield self.event("openomni.turn.done", turn=msgspec.Raw(output.record))
                else:
                    yield from map(encode, self._declined.errors(output.record))

    def _item(self, item: Json, done: bool = False, made: int = 0) -> Iterator[str]:
        yield self.event("conversation.item.added", previous_item_id=self.items.last, item=item)
        if done:
            yield self.event("conversation.item.done", previous_item_id=self.items.last, item=item)
        self.items.keep(item, made)
        self.items.last = item["id"]

    def _speech_started(self, output: SpeechStarted) -> Iterator[str]:
        turn = self.turns.begin(output.turn_id)
        turn.start = output.position
        if not turn.user_item:
            start = _ms(output.position)
            yield self.event("input_audio_buffer.speech_started", audio_start_ms=start, item_id=turn.item_id)

    def _speech_stopped(self, output: SpeechStopped) -> Iterator[str]:
        turn = self.turns.begin(output.turn_id)
        turn.end = max(output.position, 1)
        turn.start = turn.start if output.start is None else output.start
        turn.asked = turn.asked or self.turns.answers_itself
        if not turn.user_item:
            turn.user_item = True
            end = _ms(output.position)
            yield self.event("input_audio_buffer.speech_stopped", audio_end_ms=end, item_id=turn.item_id)
            yield self.event("input_audio_buffer.committed", item_id=turn.item_id, previous_item_id=self.items.last)
            part = {"type": "input_audio", "transcript": None}
            yield from self._item(_item(turn.item_id, "user", [part], "completed"))

    def _heard(self, output: Heard) -> Iterator[str]:
        turn = self.turns.begin(output.turn_id)
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
            self.items.keep(item)
            yield self.event("conversation.item.done", previous_item_id=None, item=item)

    def _dismissed(self, output: Dismissed) -> str:
        times = {"audio_start_ms": _ms(output.start), "audio_end_ms": _ms(output.end)}
        said = {"transcript": output.text, "log_probability": output.log_probability, "why": output.why}
        return self.event("openomni.dismissed", turn_id=output.turn_id, **times, **said)

    def _created(self, turn: ToldTurn) -> Iterator[str]:
        if not turn.response:
            turn.response, turn.asked = "created", True
            yield self.event("response.created", response=self._response(turn, "in_progress", []))

    def _speaking(self, turn: ToldTurn) -> Iterator[str]:
        yield from self._created(turn)
        if turn.response == "created":
            turn.response = "speaking"
            item = _item(turn.reply_item_id, "assistant", [], "in_progress")
            yield self.event("response.output_item.added", response_id=turn.response_id, output_index=0, item=item)
            yield from self._item(item)
            part = {"type": "text", "text": ""} if turn.text_only else {"type": "audio", "transcript": ""}
            yield self.event("response.content_part.added", **turn.place, part=part)

    def _text(self, output: ReplyText) -> Iterator[str]:
        turn = self.turns.begin(output.turn_id)
        if turn.response == "done" or turn.cancelled:
            return
        yield from self._speaking(turn)
        turn.text += output.text
        kind = "response.output_text.delta" if turn.text_only else "response.output_audio_transcript.delta"
        yield self.event(kind, **turn.place, delta=output.text)

    def _tool_called(self, output: ToolCalled) -> Iterator[str]:
        turn, call = self.turns.begin(output.turn_id), output.call
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
        before = self.items.last
        yield from self._item(item)
        place = {**of, "item_id": item["id"], "call_id": call.call_id}
        yield self.event("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self.event("response.function_call_arguments.done", **place, name=call.name, arguments=call.arguments)
        item = {**item, "status": "completed", "arguments": call.arguments}
        turn.calls.append(item)
        self.items.keep(item)
        yield self.event("response.output_item.done", **of, item=item)
        yield self.event("conversation.item.done", previous_item_id=before, item=item)

    def _sound(self, output: ReplySound) -> Iterator[str | bytes]:
        turn = self.turns.begin(output.turn_id)
        if turn.response == "done" or turn.cancelled:
            return
        yield from self._speaking(turn)
        turn.sent = max(turn.sent, (output.offset + len(output.pcm) // 2) / output.rate)
        if self.audio == "binary":
            yield pack_reply(output.turn_id, output.rate, output.offset, output.pcm)
        elif self.audio == "base64":
            yield from self._audio(turn, self._resampled(turn, output))

    def _audio(self, turn: ToldTurn, pcm: bytes) -> Iterator[str]:
        if pcm:
            yield self.event("response.output_audio.delta", **turn.place, delta=b64encode(pcm).decode())

    def _resampled(self, turn: ToldTurn, output: ReplySound) -> bytes:
        if output.rate == SDK_RATE:
            return output.pcm
        if turn.resampler is None:
            turn.resampler = stream_resampler(output.rate, SDK_RATE)
        return turn.resampler.resample_chunk(np.frombuffer(output.pcm, "<i2")).tobytes()  # type: ignore[no-any-return]

    def _reply_end(self, output: ReplyEnd) -> Iterator[str]:
        if self.opted_in and self.audio != "none":
            # Also behind the end of the response: speech may cut a reply that was all sent and is still being heard.
            yield self.event("openomni.reply.ended", turn_id=output.turn_id, status=output.status)
        turn = self.turns.begin(output.turn_id)
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
        turn.whole = output.status == "completed"
        details = _details(output, turn.cancelled)
        yield self.event("response.done", response=self._response(turn, output.status, items, details))
        if output.status == "failed" and not self.opted_in:
            yield encode(error("reply_failed", output.reason or "the reply failed", kind="server_error"))

    def _finished(self, turn: ToldTurn, item: Json) -> Iterator[str]:
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
        self.items.keep(item)
        yield self.event("conversation.item.done", previous_item_id=turn.item_id, item=item)

    def _response(self, turn: ToldTurn, status: str, items: list[Json], details: Json | None = None) -> Json:
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


def _item(item_id: str, role: str, content: list[Json], status: str) -> Json:
    return {
        "id": item_id, "object": "realtime.item", "type": "message", "role": role, "status": status, "content": content,
    }  # fmt: skip


def _spoken(turn: ToldTurn) -> Json:
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
