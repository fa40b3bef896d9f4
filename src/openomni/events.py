"""What flows along a turn, one class per event, and its wire form.

The same values travel between two stages in one process (as they are, no copy) and over the bus (`encode`,
`decode`: MessagePack with a `type` tag; an unknown field or type is an error, never dropped in silence).
Stamps are seconds on the sender's monotonic clock; positions are samples on the session's axis at 16 kHz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .errors import OpenOmniError
from .lazy import Lazy
from .media import Audio, Frame

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

AXIS_RATE = 16_000
"""Samples a second on a session's axis, whatever rate a device captures at."""


class Event(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """What all events share: a class name as their `type`."""


# ---- values that stages take and give ------------------------------------------------------------------------


class Word(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One word, in seconds from the start of the utterance, or of the clause, that it belongs to."""

    text: str
    start: float
    end: float
    probability: float | None = None


class Sound(Event, frozen=True, tag="sound"):
    """A stretch of audio; `start` is its first sample's place in seconds on the stream that it belongs to.

    `clause`: of a voice's sound, which of the texts that it was given (from 0) is spoken; -1 where nobody knows.
    `words`: with the first sound of a clause, from a voice that knows when it speaks which word of it.
    """

    audio: Audio
    start: float = 0.0
    clause: int = -1
    words: tuple[Word, ...] = ()


class Picture(Event, frozen=True, tag="picture"):
    """A camera frame."""

    frame: Frame


class Transcript(Event, frozen=True, tag="transcript"):
    """What was said. A partial one (`final` false) is replaced by the next; the final one stands.

    `ending`: how likely it is over where it ends, 0…1, from a recogniser that can say. `diagnostics` carries what the
    recogniser noticed about itself: a fallback taken, a repetition, a log probability.
    """

    text: str
    final: bool = True
    language: str | None = None
    words: tuple[Word, ...] = ()
    diagnostics: dict[str, float | str | bool] = {}
    ending: float | None = None


class Endings(msgspec.Struct, frozen=True):
    """How likely what was said is over where it ends, 0…1, as models of the pipeline see it that had to look at it
    anyway; None where one can't say."""

    recogniser: float | None = None
    reader: float | None = None
    """The language model."""


NOTHING_KNOWN = Endings()


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A function that the client runs for the language model; `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class ToolCall(Event, frozen=True, tag="tool_call"):
    """The language model wants a tool run; `arguments` is JSON text, as the model wrote it."""

    call_id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One item of the conversation, as a language model reads it.

    An assistant's message may carry the `tool_calls` that it made; a `tool` message is the result of the call
    `call_id`.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: tuple[Frame, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


class Prompt(Event, frozen=True, tag="prompt", omit_defaults=True):
    """What a language model answers: instructions, history and the newest utterance, oldest first.

    `tools` are those that it may call; `tool_choice` is `auto`, `none`, `required` or a tool's name.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"


class Text(Event, frozen=True, tag="text"):
    """A piece of written reply: a token or two from a language model, a clause on its way to a voice."""

    text: str


class Emotion(Event, frozen=True, tag="emotion"):
    """How the person feels: values in −1…1, negative to positive; None where the modality was not judged."""

    overall: float
    text: float | None = None
    audio: float | None = None
    video: float | None = None
    label: str | None = None


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A retrieved passage; a higher score is a better match."""

    text: str
    score: float
    source: str = ""


class Documents(Event, frozen=True, tag="documents"):
    """What retrieval found, best first."""

    documents: tuple[Document, ...]


class Speaker(Event, frozen=True, tag="speaker"):
    """Who is talking: a participant's id or a label, and how sure (0…1)."""

    label: str
    confidence: float | None = None


class Usage(Event, frozen=True, tag="usage"):
    """What a call consumed, for cost: tokens, characters or seconds, and money where the component knows it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    characters: int | None = None
    seconds: float | None = None
    cost: float | None = None
    currency: str = "USD"

    def __add__(self, other: Usage) -> Usage:
        """Both together; what neither knows stays unknown. Amounts of two currencies can't be added (ValueError)."""
        if None not in (self.cost, other.cost) and self.currency != other.currency:
            raise ValueError(f"costs in {self.currency} and {other.currency} can't be added; use one currency")
        names = ("input_tokens", "output_tokens", "characters", "seconds", "cost")
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        known = {name: sum(part for part in pair if part is not None) for name, pair in pairs.items() if any(pair)}
        return Usage(**known, currency=other.currency if self.cost is None else self.currency)


Value = Sound | Picture | Transcript | Prompt | Text | Emotion | Documents | Speaker | Usage | ToolCall

# ---- a live call to a stage on another agent -----------------------------------------------------------------


class StageCall(Event, frozen=True, tag="stage.call", omit_defaults=True):
    """Asks an agent to run one stage. Inputs follow on the call's input subject; answers on the reply subject."""

    call_id: str
    task_id: str
    attempt: int
    kind: str
    component: str
    parameters: dict[str, Any]
    inputs: str
    """The subject that inputs come on."""
    timeout: float | None = None
    """Seconds without any output after which the component counts as hung; None: as the agent sees fit."""
    first: Value | None = None
    """Input 0, when it was there before the call and is small: it need not wait for the agent to accept."""
    count: int | None = None
    """How many inputs there are, when that is known by then."""
    asked: dict[str, str] = {}
    """What the session asks of this call, of what the component takes: a `voice`, a `language`."""


class StageAccepted(Event, frozen=True, tag="stage.accepted"):
    """The agent has a slot and listens; `at` on its own clock."""

    agent: str
    at: float


class StageRefused(Event, frozen=True, tag="stage.refused"):
    """No slot free, or nothing by that name: the host asks another agent."""

    agent: str
    reason: str


class StageInput(Event, frozen=True, tag="stage.input"):
    """Input `sequence` (from 0) of a call."""

    sequence: int
    value: Value


class StageInputEnd(Event, frozen=True, tag="stage.input_end"):
    """No more input; `count` values were sent."""

    count: int


class StageCancel(Event, frozen=True, tag="stage.cancel"):
    """Stop at once; nothing more is wanted."""


class StageAlive(Event, frozen=True, tag="stage.alive"):
    """Heartbeat while a call lasts; silence of several means the agent is gone. `taken` inputs were used so far:
    the caller sends only so many ahead."""

    taken: int = 0


class StageOutput(Event, frozen=True, tag="stage.output"):
    """Output `sequence` (from 0) of a call, sent at `at` on the agent's clock, of the first `consumed` inputs."""

    sequence: int
    at: float
    value: Value
    consumed: int = 0


class StageDone(Event, frozen=True, tag="stage.done", omit_defaults=True):
    """The call is over; stamps on the agent's clock, `None` where the moment never came.

    `received`: the first input was there; `started`: a slot was; until `loaded` the component was built and warmed.
    `waited`: seconds in which it had to wait for more input. `declined`: why the component did not do as it was asked,
    by what was asked.
    """

    count: int
    received: float
    started: float
    loaded: float
    first_output: float | None
    ended: float
    model_started: float | None = None
    waited: float = 0.0
    declined: dict[str, str] = {}


class StageFailed(Event, frozen=True, tag="stage.failed"):
    """The component raised, hung or gave the wrong type; `reason` is one line for a person."""

    reason: str


StageRequest = StageCall | StageInput | StageInputEnd | StageCancel
StageAnswer = StageAccepted | StageRefused | StageAlive | StageOutput | StageDone | StageFailed

# ---- a live session: gateway to host -------------------------------------------------------------------------


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

# ---- a live session: host to gateway -------------------------------------------------------------------------


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


class ReplyText(Event, frozen=True, tag="reply.text"):
    turn_id: str
    text: str


class ReplySound(Event, frozen=True, tag="reply.sound"):
    """Reply audio: PCM16 at `rate`, from `offset` samples of this reply on; `sent` on the gateway's clock."""

    turn_id: str
    rate: int
    offset: int
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
    | ReplyText
    | ReplySound
    | ToolCalled
    | ReplyPaused
    | ReplyResumed
    | ReplyEnd
    | TurnDone
    | SessionEnded
    | Answering
)

# ---- wire form -----------------------------------------------------------------------------------------------


def _to_wire(value: Any) -> Any:
    if isinstance(value, Audio):
        return {"rate": value.rate, "f32": value.samples.astype("<f4", copy=False).tobytes()}
    if isinstance(value, Frame):
        return {"at": value.at, "jpeg": value.jpeg()}
    raise NotImplementedError(f"{type(value).__name__} has no wire form")


def _from_wire(kind: type, value: Any) -> Any:
    if kind is Audio:
        return Audio(np.frombuffer(value["f32"], "<f4"), value["rate"])
    if kind is Frame:
        return Frame.from_jpeg(value["jpeg"], value["at"])
    raise NotImplementedError(f"{kind.__name__} has no wire form")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_wire)
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {
    union: msgspec.msgpack.Decoder(union, dec_hook=_from_wire)
    for union in (StageRequest, StageAnswer, SessionInput, SessionOutput)
}


class WireError(OpenOmniError, ValueError):
    """Bytes that are no event of the expected kind; the two sides run different versions, or something is broken."""


def encode(event: Event) -> bytes:
    return _encoder.encode(event)


def decode_request(data: bytes) -> StageRequest:
    return _decode(data, StageRequest)  # type: ignore[no-any-return]


def decode_answer(data: bytes) -> StageAnswer:
    return _decode(data, StageAnswer)  # type: ignore[no-any-return]


def decode_input(data: bytes) -> SessionInput:
    return _decode(data, SessionInput)  # type: ignore[no-any-return]


def decode_output(data: bytes) -> SessionOutput:
    return _decode(data, SessionOutput)  # type: ignore[no-any-return]


def _decode(data: bytes, union: Any) -> Any:
    try:
        return _decoders[union].decode(data)
    except msgspec.MsgspecError as error:
        raise WireError(f"not an event of this version ({error}); upgrade the older side") from None
