"""What one client sends: each message becomes what the host is told, and an answer where the protocol has one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .. import bounds, clock
from ..clock import Offset
from ..errors import nearest
from ..events import (
    AudioEnd,
    AudioIn,
    CancelResponse,
    Commit,
    ItemGone,
    ItemIn,
    PictureIn,
    Played,
    Respond,
    SessionInput,
    Truncate,
)
from . import protocol
from .conversation_items import read_item, read_item_id, read_picture
from .input_audio import BYTES_A_SECOND, Axis, ClientMicrophone, ClientPace
from .protocol import Json, ProtocolError
from .realtime_settings import (
    RealtimeSettings,
    read_choice,
    read_instructions,
    read_metadata,
    read_response_voice,
    read_tools,
    text_alone,
)
from .server_events import ServerEvents

MAX_ITEMS = 2000
"""Items that a client may put into one session's conversation."""
MAX_UNANSWERED = 64
"""Utterances that a client committed, or requests, of which no turn has begun."""
MAX_ITEM_BYTES = 64 << 20
"""Of all items together that a client made and has not deleted, as JSON: what it shows is kept while the session is."""

RESPONSE_FIELDS = {
    "instructions", "output_modalities", "tools", "tool_choice", "audio", "metadata", "conversation",
}  # fmt: skip
"""What `response.create` may say for one response."""

ToHost = Callable[[SessionInput], Awaitable[None]]
Say = Callable[[str], Awaitable[None]]
Handler = Callable[["ClientEvents", Json], Awaitable[None]]


class ClientEvents:
    """Takes one client's messages, in their order. `say` sends to the client, `to_host` returns once the host's side
    took it: not reading on until then is the backpressure."""

    def __init__(
        self, settings: RealtimeSettings, events: ServerEvents, to_host: ToHost, say: Say, opted_in: bool,
        axis: Axis | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._events = settings, events
        self._turns, self._items = events.turns, events.items
        self._to_host, self._say = to_host, say
        self._opted_in = settings.opted_in = opted_in
        self._offset: Offset | None = None
        self._microphone = ClientMicrophone(axis)
        self._pace = ClientPace()
        self._made = 0
        """Items so far."""
        self._received = 0.0
        self._fresh = False
        """Something was appended since the last commit."""
        self._streams = False
        """Binary frames are with the host at once: a commit ends the utterance there, and asks for the answer."""

    @property
    def axis(self) -> Axis:
        """Of the session, for the connection on which it goes on."""
        return self._microphone.axis

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
        self._turns.follow(self._settings)
        await self._to_host(change)
        if was_held and not self._holds:
            for sound in self._microphone.release():
                await self._hear(sound)
        await self._say(self._events.event("session.updated", session=self._settings.session()))

    async def _append(self, message: Json) -> None:
        self._settings.check_input_format()
        pcm = protocol.decode_base64(message.get("audio"), "audio")
        self._fresh = self._fresh or bool(pcm)
        if self._holds:
            self._microphone.hold(pcm)
        else:
            await self._hear(self._microphone.append(pcm))

    async def _commit(self, message: Json) -> None:
        empty = not self._fresh if not self._holds else self._microphone.held_seconds == 0
        if empty and not self._streams:
            raise ProtocolError("input_audio_buffer_commit_empty", "the buffer is empty; append audio first")
        self._fresh = False
        if not self._holds:
            await self._hear(self._microphone.finish())
            await self._to_host(Commit())
            return
        self._check_room()
        for event in self._events.committed(protocol.new_id("item")):
            await self._say(event)
        for sound in self._microphone.release():
            await self._hear(sound)
        await self._to_host(Commit())

    def _check_room(self) -> None:
        if self._turns.unanswered >= MAX_UNANSWERED:
            raise ProtocolError("buffer_full", f"{MAX_UNANSWERED} utterances and requests wait already; let some begin")

    async def _clear(self, message: Json) -> None:
        if not self._holds:
            raise ProtocolError(
                "unsupported_value",
                "with server_vad what was appended is heard already; set turn_detection to null to be able to clear it",
            )
        self._microphone.clear()
        await self._say(self._events.event("input_audio_buffer.cleared"))

    # ---- items and responses ----

    async def _create_item(self, message: Json) -> None:
        given = message.get("item")
        said = read_item(given)
        assert isinstance(given, dict)
        item_id = read_item_id(given)
        after = message.get("previous_item_id")
        if after is not None and after != self._items.last:
            raise ProtocolError("unsupported_value", "items go to the end; leave it out", "previous_item_id")
        if self._made >= MAX_ITEMS:
            raise ProtocolError("buffer_full", f"a session takes {MAX_ITEMS} items; begin another")
        if self._items.made_bytes + (size := len(protocol.encode(given))) > MAX_ITEM_BYTES:
            raise ProtocolError(
                "buffer_full", f"a session holds {MAX_ITEM_BYTES >> 20} MiB of items; delete some, or begin another"
            )
        self._made += 1
        await self._to_host(ItemIn(item_id, said, once=self._opted_in))
        for event in self._events.user_item({**given, "id": item_id, "object": "realtime.item",
                                               "status": "completed"}, said.role == "user", size):  # fmt: skip
            await self._say(event)

    async def _delete_item(self, message: Json) -> None:
        item_id = self._known_item(message)
        await self._to_host(ItemGone(self._turns.name_at_host(item_id)))
        await self._say(self._events.forget(item_id))

    async def _retrieve_item(self, message: Json) -> None:
        await self._say(self._events.retrieved(self._known_item(message)))

    async def _truncate(self, message: Json) -> None:
        item_id = self._known_item(message)
        turn_id = self._turns.turn_of_reply(item_id)
        if turn_id is None:
            raise ProtocolError("invalid_value", "`item_id` is no spoken reply", "item_id")
        end_ms = protocol.number(message, "audio_end_ms", 0, 1000 * bounds.MAX_SECONDS)
        heard = self._turns.left_to_truncate(turn_id, end_ms / 1000)
        if heard is not None:
            await self._to_host(Truncate(turn_id, heard))
        await self._say(self._events.event("conversation.item.truncated", item_id=item_id, content_index=0,
                                             audio_end_ms=int(end_ms)))  # fmt: skip

    def _known_item(self, message: Json) -> str:
        item_id = protocol.text(message, "item_id")
        if item_id not in self._items:
            raise ProtocolError("item_not_found", f"there is no item {item_id[:80]!r} in this session", "item_id")
        return item_id

    async def _create_response(self, message: Json) -> None:
        options = message.get("response") or {}
        if not isinstance(options, dict):
            raise ProtocolError("invalid_value", "`response` takes an object", "response")
        for field in set(options) - RESPONSE_FIELDS:
            if options[field] not in (None, [], {}):
                raise ProtocolError(
                    "unsupported_value", f"`response.{field}` can't be set for one response; use session.update",
                    f"response.{field}",
                )  # fmt: skip
        if options.get("conversation") not in (None, "auto"):
            raise ProtocolError("unsupported_value", "responses join the conversation", "response.conversation")
        instructions = options.get("instructions")
        if instructions is not None:
            instructions = read_instructions(instructions, "response.instructions")
        modalities, tools, choice = options.get("output_modalities"), options.get("tools"), options.get("tool_choice")
        # Only our own clients ask again; the names that others give to their events need not differ.
        name = message.get("event_id")
        request = name if self._opted_in and isinstance(name, str) and 0 < len(name) <= bounds.MAX_NAME else None
        respond = Respond(
            request,
            instructions,
            None if modalities is None else text_alone(modalities, "response.output_modalities"),
            None if tools is None else read_tools(tools, "response.tools"),
            None if choice is None else read_choice(choice, "response.tool_choice"),
            read_response_voice(options.get("audio")),
        )
        metadata = read_metadata(options.get("metadata"))
        again = request is not None and message.get("again") is True  # it then waits for its place at the host
        if self._turns.busy and not again:
            raise ProtocolError(
                "conversation_already_has_active_response", "a reply is under way; wait for it, or response.cancel"
            )
        self._check_room()
        self._turns.ask(bool(respond.text_only), metadata, request)
        await self._to_host(respond)

    async def _cancel(self, message: Json) -> None:
        turn = self._turns.active
        wanted = message.get("response_id")
        if not self._turns.busy or (wanted is not None and (turn is None or wanted != turn.response_id)):
            raise ProtocolError("response_cancel_not_active", "no reply is under way that could be cancelled")
        self._turns.cancel(turn)
        await self._to_host(CancelResponse())

    async def _unsupported(self, message: Json) -> None:
        raise ProtocolError("unsupported_event", f"{message['type']} is not supported by this server", "type")

    # ---- ours ----

    async def _ping(self, message: Json) -> None:
        sent = protocol.number(message, "sent")
        pong = {"type": "openomni.pong", "sent": sent, "received": self._received, "sent_back": clock.now()}
        await self._say(protocol.encode(pong))

    async def _clock(self, message: Json) -> None:
        self._offset = read_offset(message)

    async def _audio_end(self, message: Json) -> None:
        await self._hear(self._microphone.finish())
        await self._to_host(AudioEnd())

    async def _frame(self, message: Json) -> None:
        position = int(protocol.number(message, "position", 0, bounds.MAX_POSITION))
        self.axis.check(position)
        picture = read_picture(message.get("jpeg"), "jpeg")
        await self._to_host(PictureIn(position, picture.jpeg()))

    async def _playback(self, message: Json) -> None:
        await self._to_host(played(message, self._offset))

    async def _late_hello(self, message: Json) -> None:
        raise ProtocolError("invalid_event", "openomni.hello is the first message, or none", "type")


def read_offset(message: Json) -> Offset:
    """What a client found of its clock. Raises `ProtocolError`."""
    seconds = protocol.number(message, "offset", -2 * protocol.MAX_STAMP, 2 * protocol.MAX_STAMP)
    return Offset(seconds, protocol.number(message, "uncertainty", 0))


def played(message: Json, offset: Offset | None) -> Played:
    """A playback report, on the gateway's clock. Raises `ProtocolError`."""
    if offset is None:
        raise ProtocolError("invalid_event", "openomni.clock comes before openomni.playback, which has stamps")
    audible = None if message.get("audible") is None else offset.to_remote(protocol.number(message, "audible"))
    return Played(
        turn_id=protocol.text(message, "turn_id"),
        started=offset.to_remote(protocol.number(message, "started")),
        audible=audible,
        seconds=protocol.number(message, "seconds", 0, bounds.MAX_SECONDS),
        ended=message.get("ended") is True,
        uncertainty=offset.uncertainty,
    )


def _unknown(kind: str) -> ProtocolError:
    known = [name for name in HANDLERS if not name.startswith("openomni.")]
    return ProtocolError("unknown_event", f"unknown event type {kind[:80]!r}; {nearest(kind[:80], known)}", "type")


HANDLERS: dict[str, Handler] = {
    "input_audio_buffer.append": ClientEvents._append,
    "input_audio_buffer.commit": ClientEvents._commit,
    "input_audio_buffer.clear": ClientEvents._clear,
    "session.update": ClientEvents._update,
    "conversation.item.create": ClientEvents._create_item,
    "conversation.item.delete": ClientEvents._delete_item,
    "conversation.item.retrieve": ClientEvents._retrieve_item,
    "conversation.item.truncate": ClientEvents._truncate,
    "output_audio_buffer.clear": ClientEvents._unsupported,
    "response.create": ClientEvents._create_response,
    "response.cancel": ClientEvents._cancel,
    "openomni.hello": ClientEvents._late_hello,
    "openomni.ping": ClientEvents._ping,
    "openomni.clock": ClientEvents._clock,
    "openomni.audio_end": ClientEvents._audio_end,
    "openomni.frame": ClientEvents._frame,
    "openomni.playback": ClientEvents._playback,
}
