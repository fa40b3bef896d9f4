"""What a Realtime client may set of its session, and the session object that says what is in force."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..errors import nearest
from ..events import SessionChange, Tool
from .protocol import MAX_SHOWN, MAX_TYPED, SDK_RATE, Json, ProtocolError

_PCM = {"type": "audio/pcm", "rate": SDK_RATE}
_DETECTIONS = ("server_vad", "semantic_vad")
_EAGERNESS = ("low", "medium", "high", "auto")
_CHOICES = ("auto", "none", "required")
_MILLISECONDS = {"silence_duration_ms": "silence", "prefix_padding_ms": "padding"}
_WITHIN = {**dict.fromkeys(_MILLISECONDS, 10_000), "idle_timeout_ms": 3_600_000}
"""Milliseconds that each may be at most."""
OPENAI_VOICES = frozenset(("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"))
"""What clients name as a matter of course, whatever speaks; nobody is told of one that a pipeline has not."""
PLACES = {"voice": "session.audio.output.voice", "language": "session.audio.input.transcription.language"}
"""Where a session names what it asks of a component."""
_KNOWN = {
    "session": frozenset(
        ("type", "audio", "include", "instructions", "max_output_tokens", "model", "output_modalities",
         "parallel_tool_calls", "prompt", "reasoning", "temperature", "tool_choice", "tools", "tracing", "truncation",
         "id", "object", "expires_at")
    ),
    "session.audio": frozenset(("input", "output")),
    "session.audio.input": frozenset(("format", "noise_reduction", "transcription", "turn_detection")),
    "session.audio.output": frozenset(("format", "speed", "voice")),
    "session.audio.input.turn_detection": frozenset(
        ("type", "create_response", "interrupt_response", "prefix_padding_ms", "silence_duration_ms", "threshold",
         "eagerness", "idle_timeout_ms")
    ),
}  # fmt: skip
"""What a session of the OpenAI Realtime API has. What is not ours to do is left aside, for clients send it as a matter
of course; what a session object says of itself may be sent back."""
_MOVED = PLACES | {
    "turn_detection": "session.audio.input.turn_detection",
    "input_audio_format": "session.audio.input.format",
    "input_audio_noise_reduction": "session.audio.input.noise_reduction",
    "input_audio_transcription": "session.audio.input.transcription",
    "output_audio_format": "session.audio.output.format",
    "speed": "session.audio.output.speed",
    "modalities": "session.output_modalities",
    "max_response_output_tokens": "session.max_output_tokens",
}
"""Where the API has what its beta had at the top."""
MAX_NAME = 200
"""Characters of the name of a voice or a tool."""
MAX_METADATA, MAX_METADATA_NAME, MAX_METADATA_VALUE = 16, 64, 512
"""As the Realtime API has it: texts, and characters of their names and of each."""
MAX_TOOLS = 128
MAX_SCHEMA = 64 << 10
"""Bytes of all tools of a session."""


class RealtimeSettings:
    """The settings of one session. What belongs to the pipeline alone (its models) is not set here: an update may name
    it, and the session object leaves it out."""

    def __init__(self, session_id: str, pipeline: str, opted_in: bool = False) -> None:
        self.session_id = session_id
        self.pipeline = pipeline
        self.opted_in = opted_in
        """A client of ours: its commit asks for the answer, too."""
        self.instructions: str | None = None
        self.detection: Json | None = {"type": "server_vad"}
        """As the client gave it; None: it says itself where an utterance ends."""
        self.text_only = False
        self.tools: list[Json] = []
        self.tool_choice: Any = "auto"
        self._wrong_format = False
        """The client asked last for an input format that it did not get."""
        self.voice: Json | str | None = None
        """As the client gave it; None: it said nothing of it. Empty: the pipeline's own again; so the language."""
        self.language: str | None = None

    @property
    def server_vad(self) -> bool:
        return self.detection is not None

    @property
    def answers_itself(self) -> bool:
        """Whether an utterance that ended is answered without `response.create`."""
        if self.detection is None:
            return self.opted_in
        return self.detection.get("create_response") is not False

    def update(self, session: object) -> SessionChange:
        """Takes a `session.update`, all of it or, raising `ProtocolError`, nothing; gives what the host must know."""
        asked = _asked_format(session)
        if asked is not None:
            self._wrong_format = not _is_ours(asked)
        return self._update(session)

    def _update(self, session: object) -> SessionChange:
        if not isinstance(session, dict):
            raise ProtocolError("invalid_value", "`session` takes an object", "session")
        _check_names(session, "session")
        _check(session.get("type", "realtime") == "realtime", "session.type", "this server holds `realtime` sessions")
        _check(
            session.get("model", self.pipeline) == self.pipeline,
            "session.model", f"this session runs {self.pipeline!r}; connect again with ?model= for another pipeline",
        )  # fmt: skip
        text_only = self.text_only
        if "output_modalities" in session:
            text_only = text_alone(session["output_modalities"], "session.output_modalities")
        tools = self.tools
        if "tools" in session:
            tools = [] if session["tools"] is None else session["tools"]
            read_tools(tools, "session.tools")
        choice = session.get("tool_choice", self.tool_choice) or "auto"
        chosen = read_choice(choice, "session.tool_choice")
        choice = {"type": "function", "name": chosen} if isinstance(choice, dict) else chosen
        instructions = self.instructions
        if "instructions" in session:
            given = session["instructions"]
            instructions = None if given is None else read_instructions(given, "session.instructions")
        audio = _object(session.get("audio"), "session.audio")
        _check_names(audio, "session.audio")
        spoken = _object(audio.get("output"), "session.audio.output")
        _check_names(spoken, "session.audio.output")
        _check_format(spoken, "session.audio.output.format")
        voice = self.voice
        if "voice" in spoken:
            voice = "" if spoken["voice"] is None else spoken["voice"]
            name = read_voice(voice, PLACES["voice"])
            voice = {"id": name} if isinstance(voice, dict) else name
        heard = _object(audio.get("input"), "session.audio.input")
        _check_names(heard, "session.audio.input")
        _check_format(heard, "session.audio.input.format")
        detection = self.detection
        if "turn_detection" in heard:
            detection = _detection(heard["turn_detection"])
        language = self.language
        if "transcription" in heard:
            language = _language(heard["transcription"], language)
        self.instructions, self.detection, self.text_only = instructions, detection, text_only
        self.tools, self.tool_choice = tools, choice
        self.voice, self.language = voice, language
        return self.change

    def check_input_format(self) -> None:
        """Raises `ProtocolError` while a client may be sending sound in a form that it was refused: taken for PCM16 it
        would be noise."""
        if self._wrong_format:
            where = "session.audio.input.format"
            raise ProtocolError(
                "unsupported_value", "the format that was asked for is refused, and sound in it is not heard; send "
                f"{_PCM}, and name it in a session.update as `{where}`", where,
            )  # fmt: skip

    @property
    def change(self) -> SessionChange:
        """The settings as the host reads them."""
        detection = self.detection or {}
        semantic = {"server_vad": False, "semantic_vad": True}.get(str(detection.get("type"))) if detection else None
        if semantic is False and "silence_duration_ms" not in detection:
            semantic = None  # nothing is said of when an utterance ends: the pipeline knows
        times = {name: detection[ms] / 1000 for ms, name in _MILLISECONDS.items() if detection.get(ms) is not None}
        return SessionChange(
            instructions=self.instructions,
            turn_detection=self.server_vad,
            interrupt_response=detection.get("interrupt_response"),
            create_response=self.answers_itself,
            text_only=self.text_only,
            tools=read_tools(self.tools, "session.tools"),
            tool_choice=read_choice(self.tool_choice, "session.tool_choice"),
            voice=None if self.voice is None else read_voice(self.voice, PLACES["voice"]),
            language=self.language,
            threshold=detection.get("threshold"),
            semantic=semantic,
            **times,
        )

    def session(self) -> Json:
        """The session object of `session.created` and `session.updated`."""
        detection = None
        if self.detection is not None:
            detection = {"create_response": True, "interrupt_response": True} | {
                name: value for name, value in self.detection.items() if value is not None
            }
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": f"sess_{self.session_id}",
            "model": self.pipeline,
            "output_modalities": ["text"] if self.text_only else ["audio"],
            "instructions": self.instructions or "",
            "audio": {
                "input": {
                    "format": _PCM,
                    "transcription": {"language": self.language} if self.language else None,
                    "turn_detection": detection,
                },
                "output": {"format": _PCM, "voice": self.voice or None},
            },
            "tools": self.tools,
            "tool_choice": self.tool_choice,
        }


def text_alone(modalities: object, where: str) -> bool:
    """Whether replies are written and not spoken."""
    _check(modalities in (["audio"], ["text"]), where, 'takes ["audio"], which brings its transcript, or ["text"]')
    return modalities == ["text"]


def read_instructions(instructions: object, where: str) -> str:
    """What a model is told to be."""
    fine = isinstance(instructions, str) and len(instructions) <= MAX_TYPED
    _check(fine, where, f"takes text of at most {MAX_TYPED} characters")
    return str(instructions)


def read_voice(voice: object, where: str) -> str:
    """The name of a voice, given as text or as `{"id": …}`; empty: the pipeline's own."""
    if isinstance(voice, dict):
        where, voice = f"{where}.id", voice.get("id")
        _check(bool(voice), where, "takes the name of a voice")
    fine = isinstance(voice, str) and len(voice) <= MAX_NAME and voice.isprintable()
    _check(fine, where, f'takes the name of a voice, of at most {MAX_NAME} characters, or {{"id": …}}')
    return str(voice)


def read_response_voice(audio: object) -> str | None:
    """The voice that `response.audio` names for this response alone."""
    output = _object(_object(audio, "response.audio").get("output"), "response.audio.output")
    _check_format(output, "response.audio.output.format")
    voice = output.get("voice")
    return None if voice is None else read_voice(voice, "response.audio.output.voice")


def read_metadata(metadata: object) -> Json | None:
    """What a client writes on its request, to know the response by."""
    given = _object(metadata, "response.metadata")
    fine = len(given) <= MAX_METADATA and all(
        isinstance(value, str) and len(name) <= MAX_METADATA_NAME and len(value) <= MAX_METADATA_VALUE
        for name, value in given.items()
    )
    _check(
        fine, "response.metadata",
        f"takes at most {MAX_METADATA} texts of at most {MAX_METADATA_VALUE} characters, under names of at most "
        f"{MAX_METADATA_NAME}",
    )  # fmt: skip
    return given or None


def read_tools(tools: object, where: str) -> tuple[Tool, ...]:
    """Raises `ProtocolError` for what is no list of functions."""
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS or len(msgspec.json.encode(tools)) > MAX_SCHEMA:
        raise ProtocolError("invalid_value", f"`{where}` takes a list of at most {MAX_TOOLS} functions", where)
    found = []
    for tool in tools:
        given = _object(tool, where)
        name, schema = given.get("name"), given.get("parameters")
        right = given.get("type", "function") == "function" and isinstance(name, str) and name
        _check(bool(right), where, "takes functions, each with a name; this server runs no tools of its own")
        _check(schema is None or isinstance(schema, dict), where, f"the parameters of {name!r} take a JSON Schema")
        found.append(Tool(str(name), str(given.get("description") or ""), schema or {}))
    return tuple(found)


def read_choice(choice: object, where: str) -> str:
    if isinstance(choice, str) and choice in _CHOICES:
        return choice
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = choice.get("name")
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME:
            return name
    raise ProtocolError("unsupported_value", f"`{where}` takes {', '.join(_CHOICES)} or a function's name", where)


def _language(transcription: object, before: str | None) -> str | None:
    """Empty: as the pipeline has it."""
    where = PLACES["language"]
    given = {"language": None} if transcription is None else _object(transcription, where.rpartition(".")[0])
    language = given.get("language", before)
    if not language:
        return "" if "language" in given else before
    fine = isinstance(language, str) and re.fullmatch("[a-z]{2,3}", language)
    _check(bool(fine), where, "takes an ISO 639-1 code such as `en` (or null)")
    return str(language)


def _detection(value: object) -> Json | None:
    where = "session.audio.input.turn_detection"
    if value is None:
        return None
    detection = _object(value, where)
    _check_names(detection, where)
    eagerness = detection.get("eagerness")
    _check(eagerness in (None, *_EAGERNESS), f"{where}.eagerness", f"takes {', '.join(_EAGERNESS)}")
    kind = str(detection.get("type", "server_vad"))[:MAX_SHOWN]
    _check(kind in _DETECTIONS, f"{where}.type", f"{kind!r} is not known; {nearest(kind, _DETECTIONS)} (or null)")
    for field in ("create_response", "interrupt_response"):
        _check(detection.get(field) in (None, True, False), f"{where}.{field}", "takes true or false")
    for field, most in _WITHIN.items():
        number = detection.get(field)
        fine = number is None or (isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= most)
        _check(fine, f"{where}.{field}", f"takes 0 to {most} milliseconds")
    threshold = detection.get("threshold")
    fine = threshold is None or (isinstance(threshold, int | float) and 0 < threshold <= 1)
    _check(fine, f"{where}.threshold", "takes a number above 0, up to 1")
    return {**detection, "type": kind}


def _check_format(side: Json, where: str) -> None:
    """Only PCM at 24 kHz goes over the wire; the older protocol wrote it as text."""
    shape = side.get("format")
    if shape is not None and not _is_ours(shape):
        raise ProtocolError("unsupported_value", f"`{where}` takes {_PCM}, not {str(shape)[:80]}", where)


def _is_ours(shape: object) -> bool:
    if isinstance(shape, dict):
        return shape.get("type", "audio/pcm") == "audio/pcm" and shape.get("rate") in (None, SDK_RATE)
    return shape == "pcm16"


def _asked_format(session: object) -> object:
    """What a `session.update`, right or wrong, names as the form of the client's sound; also where the beta had it."""
    if not isinstance(session, dict):
        return None
    heard: Any = session.get("audio")
    for step in ("input", "format"):
        heard = heard.get(step) if isinstance(heard, dict) else None
    return heard if heard is not None else session.get("input_audio_format")


def _check_names(given: Json, where: str) -> None:
    """Refuses what the API knows as little as we do: a name that was mistyped, or is of its beta."""
    for name in given:
        if name not in _KNOWN[where]:
            shown = name[:MAX_SHOWN]
            hint = f"it is `{_MOVED[name]}` now" if name in _MOVED else nearest(shown, _KNOWN[where])
            raise ProtocolError("unknown_parameter", f"`{where}` has no {shown!r}; {hint}", f"{where}.{shown}")


def _object(value: object, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError("invalid_value", f"`{where}` takes an object", where)
    return value


def _check(holds: bool, where: str, message: str) -> None:
    if not holds:
        raise ProtocolError("unsupported_value", f"`{where}`: {message}", where)
