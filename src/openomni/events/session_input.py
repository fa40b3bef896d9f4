"""A live session, from the gateway to the host: what a client captures, types, sets and played."""

from __future__ import annotations

from .event import Event
from .values import Message, Tool


class AudioIn(Event, frozen=True, tag="audio.in"):
    """Captured sound: PCM16 at 16 kHz from sample `position` on; its first sample was captured at `captured`
    on the gateway's clock."""

    position: int
    captured: float
    pcm: bytes


class PictureIn(Event, frozen=True, tag="picture.in"):
    """A captured camera frame as JPEG, at `position` on the session's axis."""

    position: int
    jpeg: bytes


class AudioEnd(Event, frozen=True, tag="audio.end"):
    """The capture is over (the file ended, the device stopped): finish what was said, then close."""


class Commit(Event, frozen=True, tag="commit"):
    """The client says that the utterance ends here, whatever turn detection thinks."""


class TextIn(Event, frozen=True, tag="text.in"):
    """The person typed instead of spoke, and wants an answer."""

    text: str


class ItemIn(Event, frozen=True, tag="item.in", omit_defaults=True):
    """An item that the client puts into the conversation: typed text, images, an earlier reply, a tool's result. It is
    answered when `Respond` comes, or with the next utterance. `item_id` names it for `ItemGone`.

    `once`: one that comes twice counts once, for a client can't know whether a line that broke had carried it.
    """

    item_id: str
    message: Message
    once: bool = False


class ItemGone(Event, frozen=True, tag="item.gone"):
    """The item, or what was said in the turn of that id (`user:TURN`, `reply:TURN`), leaves the conversation."""

    item_id: str


class Respond(Event, frozen=True, tag="respond", omit_defaults=True):
    """Answer what is there now: the agent speaks first, or goes on after a tool's result.

    What is given here holds for this response alone; None: as the session has it. A request that comes twice, by its
    `request_id`, counts once.
    """

    request_id: str | None = None
    instructions: str | None = None
    text_only: bool | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: str | None = None
    voice: str | None = None


class CancelResponse(Event, frozen=True, tag="response.cancel"):
    """Stop the reply that is under way."""


class Truncate(Event, frozen=True, tag="truncate"):
    """The client played only the first `seconds` of a turn's reply: what follows was not heard."""

    turn_id: str
    seconds: float


class SessionChange(Event, frozen=True, tag="session.change", omit_defaults=True):
    """Settings that the client changed; None leaves one as it is."""

    instructions: str | None = None
    turn_detection: bool | None = None
    """False: only `Commit` ends an utterance."""
    interrupt_response: bool | None = None
    create_response: bool | None = None
    """False: an utterance that ended is not answered before `Respond`."""
    text_only: bool | None = None
    """Replies are written and not spoken."""
    tools: tuple[Tool, ...] | None = None
    tool_choice: str | None = None
    voice: str | None = None
    """For the voice's component, where it takes one; empty: the pipeline's own again."""
    language: str | None = None
    """For the recogniser, where it takes one: an ISO 639 code; empty: as the pipeline has it."""
    silence: float | None = None
    """Seconds of silence that end an utterance."""
    threshold: float | None = None
    padding: float | None = None
    semantic: bool | None = None
    """Whether an unfinished sentence is waited for longer."""


class Played(Event, frozen=True, tag="played"):
    """What a responder really played of a reply: `started` and `audible` (first sample above −40 dBFS) on the
    gateway's clock, give or take `uncertainty`; `seconds` of the reply's sound so far; `ended` when none is left."""

    turn_id: str
    started: float
    audible: float | None
    seconds: float
    ended: bool
    uncertainty: float = 0.0


class CameBack(Event, frozen=True, tag="came.back"):
    """The client's line broke and stands again; what was said shortly before may not have reached it."""


class SessionClose(Event, frozen=True, tag="session.close"):
    """The client left for good."""


SessionInput = (
    AudioIn
    | PictureIn
    | AudioEnd
    | Commit
    | TextIn
    | ItemIn
    | ItemGone
    | Respond
    | CancelResponse
    | Truncate
    | SessionChange
    | Played
    | CameBack
    | SessionClose
)
