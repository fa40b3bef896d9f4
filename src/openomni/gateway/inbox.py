"""What one client sends: each message becomes what the host is told, and an answer where the protocol has one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .. import clock
from ..clock import Offset
from ..errors import nearest
from ..events import (
    AudioEnd,
    AudioIn,
    CancelResponse,
    Commit,
    PictureIn,
    Played,
    SessionInput,
    TextIn,
)
from . import protocol
from .narrator import Narrator
from .protocol import Json, ProtocolError
from .settings import SessionSettings
from .sound import BYTES_A_SECOND, Microphone, Pace

MAX_TYPED = 64 << 10
"""Characters of one typed message."""
MAX_PENDING = 64
"""Typed and committed items that may wait for `response.create`."""

ToHost = Callable[[SessionInput], Awaitable[None]]
Say = Callable[[str], Awaitable[None]]
Handler = Callable[["Inbox", Json], Awaitable[None]]


class Inbox:
    """Takes one client's messages, in their order. `say` sends to the client, `to_host` returns once the host's side
    took it: not reading on until then is the backpressure."""

    def __init__(
        self, settings: SessionSettings, narrator: Narrator, to_host: ToHost, say: Say, opted_in: bool
    ) -> None:
        self._settings, self._narrator = settings, narrator
        self._to_host, self._say = to_host, say
        self._opted_in = opted_in
        self._offset: Offset | None = None
        self._microphone = Microphone()
        self._pace = Pace()
        self._pending: list[SessionInput] = []
        self._received = 0.0
        self._streams = False
        """Binary frames are with the host at once: a commit ends the utterance there, and asks for the answer."""

    async def text(self, text: str) -> None:
        """A JSON message. Raises `ProtocolError` for what is wrong with it; the next message is as welcome."""
        self._received = clock.now()
        message = protocol.parse(text)
        handler = HANDLERS.get(message["type"])
        try:
            if handler is None or (message["type"].startswith("openomni.") and not self._opted_in):
                raise _unknown(message["type"])
            await handler(self, message)
        except ProtocolError as fault:
            fault.cause = message.get("event_id")
            raise

    async def binary(self, frame: bytes) -> None:
        """A binary audio frame of a client that opted in: the hot path."""
        if not self._opted_in:
            raise ProtocolError("invalid_frame", "binary frames are for clients that began with openomni.hello")
        self._streams = True
        position, captured, pcm = protocol.unpack_audio(frame)
        if self._offset is None:
            captured = clock.now() - len(pcm) / BYTES_A_SECOND
        else:
            captured += self._offset.seconds
        await self._hear(self._microphone.placed(position, captured, pcm))

    async def _hear(self, sound: AudioIn | None) -> None:
        if sound is not None:
            await self._pace.take(len(sound.pcm) / BYTES_A_SECOND)
            await self._to_host(sound)

    # ---- the session and its input buffer ----

    @property
    def _holds(self) -> bool:
        """Whether sound waits here for `response.create`. That of a client that opted in never does: its commit is
        its request."""
        return not (self._settings.server_vad or self._opted_in)

    async def _update(self, message: Json) -> None:
        was_held = self._holds
        change = self._settings.update(message.get("session"))
        await self._to_host(change)
        if was_held and not self._holds:
            for sound in self._microphone.release():
                await self._hear(sound)
        await self._say(self._narrator.event("session.updated", session=self._settings.session()))

    async def _append(self, message: Json) -> None:
        pcm = protocol.decode_base64(message.get("audio"), "audio")
        if len(pcm) % 2:
            raise ProtocolError("invalid_value", "`audio` holds half a sample; send whole PCM16 samples", "audio")
        if self._holds:
            self._microphone.hold(pcm)
        else:
            await self._hear(self._microphone.append(pcm))

    async def _commit(self, message: Json) -> None:
        if not self._holds:
            await self._hear(self._microphone.finish())
            await self._to_host(Commit())
            return
        if self._microphone.held_seconds == 0:
            raise ProtocolError("input_audio_buffer_commit_empty", "the buffer is empty; append audio first")
        self._add_pending(*self._microphone.release(), Commit())
        for event in self._narrator.committed(protocol.new_id("item")):
            await self._say(event)

    async def _clear(self, message: Json) -> None:
        if not self._holds:
            raise ProtocolError(
                "unsupported_value",
                "with server_vad what was appended is heard already; set turn_detection to null to be able to clear it",
            )
        self._microphone.clear()
        await self._say(self._narrator.event("input_audio_buffer.cleared"))

    # ---- items and responses ----

    async def _create_item(self, message: Json) -> None:
        item = message.get("item")
        if not isinstance(item, dict) or item.get("type") != "message" or item.get("role") != "user":
            raise ProtocolError("unsupported_value", "`item` takes a message of the role `user`", "item")
        content = item.get("content")
        parts = content if isinstance(content, list) else []
        if not parts or not all(isinstance(part, dict) and part.get("type") == "input_text" for part in parts):
            raise ProtocolError(
                "unsupported_value", "`item.content` takes input_text; sound goes to input_audio_buffer.append",
                "item.content",
            )  # fmt: skip
        text = "\n".join(protocol.text(part, "text") for part in parts)
        if not text.strip() or len(text) > MAX_TYPED:
            raise ProtocolError("invalid_value", f"the text takes 1 to {MAX_TYPED} characters", "item.content")
        self._add_pending(TextIn(text))
        item_id = item["id"] if isinstance(item.get("id"), str) else protocol.new_id("item")
        for event in self._narrator.user_item(item_id, [{"type": "input_text", "text": text}]):
            await self._say(event)

    def _add_pending(self, *inputs: SessionInput) -> None:
        if sum(isinstance(event, Commit | TextIn) for event in self._pending) >= MAX_PENDING:
            raise ProtocolError("buffer_full", f"{MAX_PENDING} items wait for an answer; send response.create")
        self._pending += inputs

    async def _create_response(self, message: Json) -> None:
        options = message.get("response") or {}
        for field in set(options) - {"output_modalities", "modalities", "metadata", "conversation"}:
            if options[field] not in (None, [], {}):
                raise ProtocolError(
                    "unsupported_value", f"`response.{field}` can't be set for one response; use session.update",
                    f"response.{field}",
                )  # fmt: skip
        if options.get("output_modalities") not in (None, ["audio"]):
            raise ProtocolError("unsupported_value", 'replies are ["audio"]', "response.output_modalities")
        if self._narrator.active:
            raise ProtocolError(
                "conversation_already_has_active_response", "a reply is under way; wait for it, or response.cancel"
            )
        if not self._pending:
            raise ProtocolError("nothing_to_answer", "nothing new was said; commit audio or create an item first")
        pending, self._pending = self._pending, []
        for event in _one_utterance(pending):
            await (self._hear(event) if isinstance(event, AudioIn) else self._to_host(event))

    async def _cancel(self, message: Json) -> None:
        turn = self._narrator.active
        wanted = message.get("response_id")
        if turn is None or (wanted is not None and wanted != turn.response_id):
            raise ProtocolError("response_cancel_not_active", "no reply is under way that could be cancelled")
        self._narrator.cancel(turn)
        await self._to_host(CancelResponse())

    async def _unsupported(self, message: Json) -> None:
        raise ProtocolError("unsupported_event", f"{message['type']} is not supported by this server", "type")

    # ---- ours ----

    async def _ping(self, message: Json) -> None:
        sent = protocol.number(message, "sent")
        pong = {"type": "openomni.pong", "sent": sent, "received": self._received, "sent_back": clock.now()}
        await self._say(protocol.encode(pong))

    async def _clock(self, message: Json) -> None:
        self._offset = Offset(protocol.number(message, "offset"), protocol.number(message, "uncertainty"))

    async def _audio_end(self, message: Json) -> None:
        await self._hear(self._microphone.finish())
        await self._to_host(AudioEnd())

    async def _frame(self, message: Json) -> None:
        jpeg = protocol.decode_base64(message.get("jpeg"), "jpeg")
        await self._to_host(PictureIn(int(protocol.number(message, "position")), jpeg))

    async def _playback(self, message: Json) -> None:
        await self._to_host(played(message, self._offset))

    async def _late_hello(self, message: Json) -> None:
        raise ProtocolError("invalid_event", "openomni.hello is the first message, or none", "type")


def played(message: Json, offset: Offset | None) -> Played:
    """A playback report, on the gateway's clock. Raises `ProtocolError`."""
    if offset is None:
        raise ProtocolError("invalid_event", "openomni.clock comes before openomni.playback, which has stamps")
    audible = None if message.get("audible") is None else offset.to_remote(protocol.number(message, "audible"))
    return Played(
        turn_id=protocol.text(message, "turn_id"),
        started=offset.to_remote(protocol.number(message, "started")),
        audible=audible,
        seconds=protocol.number(message, "seconds"),
        ended=message.get("ended") is True,
        uncertainty=offset.uncertainty,
    )


def _one_utterance(pending: list[SessionInput]) -> list[SessionInput]:
    """Committed items that follow one another become one utterance; typed ones one message."""
    last_commit = max((index for index, event in enumerate(pending) if isinstance(event, Commit)), default=-1)
    texts = [event.text for event in pending if isinstance(event, TextIn)]
    spoken = [
        event
        for index, event in enumerate(pending)
        if isinstance(event, AudioIn) or (isinstance(event, Commit) and index == last_commit)
    ]
    return [*spoken, *([TextIn("\n".join(texts))] if texts else [])]


def _unknown(kind: str) -> ProtocolError:
    known = [name for name in HANDLERS if not name.startswith("openomni.")]
    return ProtocolError("unknown_event", f"unknown event type {kind[:80]!r}; {nearest(kind[:80], known)}", "type")


HANDLERS: dict[str, Handler] = {
    "input_audio_buffer.append": Inbox._append,
    "input_audio_buffer.commit": Inbox._commit,
    "input_audio_buffer.clear": Inbox._clear,
    "session.update": Inbox._update,
    "conversation.item.create": Inbox._create_item,
    "conversation.item.delete": Inbox._unsupported,
    "conversation.item.retrieve": Inbox._unsupported,
    "conversation.item.truncate": Inbox._unsupported,
    "output_audio_buffer.clear": Inbox._unsupported,
    "response.create": Inbox._create_response,
    "response.cancel": Inbox._cancel,
    "openomni.hello": Inbox._late_hello,
    "openomni.ping": Inbox._ping,
    "openomni.clock": Inbox._clock,
    "openomni.audio_end": Inbox._audio_end,
    "openomni.frame": Inbox._frame,
    "openomni.playback": Inbox._playback,
}
