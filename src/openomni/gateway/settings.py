"""What a Realtime client may set of its session, and the session object that says what is in force."""

from __future__ import annotations

from typing import Any

from ..errors import nearest
from ..events import SessionChange
from .protocol import SDK_RATE, Json, ProtocolError

_PCM = {"type": "audio/pcm", "rate": SDK_RATE}
_TURN_DETECTION = ("create_response", "interrupt_response")


class SessionSettings:
    """The settings of one session. What belongs to the pipeline (its voice, its models, the times of its turn
    detection) is not set here: an update may name it, and the session object leaves it out."""

    def __init__(self, session_id: str, pipeline: str) -> None:
        self.session_id = session_id
        self.pipeline = pipeline
        self.instructions: str | None = None
        self.server_vad = True
        self.interrupt_response: bool | None = None

    def update(self, session: object) -> SessionChange:
        """Takes a `session.update`, all of it or, raising `ProtocolError`, nothing; gives what the host must know."""
        if not isinstance(session, dict):
            raise ProtocolError("invalid_value", "`session` takes an object", "session")
        _check(session.get("type", "realtime") == "realtime", "session.type", "this server holds `realtime` sessions")
        _check(
            session.get("model", self.pipeline) == self.pipeline,
            "session.model", f"this session runs {self.pipeline!r}; connect again with ?model= for another pipeline",
        )  # fmt: skip
        modalities = session.get("output_modalities", ["audio"])
        _check(modalities == ["audio"], "session.output_modalities", 'replies are ["audio"], with their transcript')
        _check(not session.get("tools"), "session.tools", "tools are not supported")
        instructions = session.get("instructions", self.instructions)
        _check(instructions is None or isinstance(instructions, str), "session.instructions", "takes text")
        audio = _object(session.get("audio"), "session.audio")
        _check_format(_object(audio.get("output"), "session.audio.output"), "session.audio.output.format")
        heard = _object(audio.get("input"), "session.audio.input")
        _check_format(heard, "session.audio.input.format")
        server_vad, interrupt = self.server_vad, self.interrupt_response
        if "turn_detection" in heard:
            server_vad, interrupt = _turn_detection(heard["turn_detection"], interrupt)
        self.instructions, self.server_vad, self.interrupt_response = instructions, server_vad, interrupt
        return self.change

    @property
    def change(self) -> SessionChange:
        """The settings as the host reads them."""
        return SessionChange(self.instructions, self.server_vad, self.interrupt_response)

    @property
    def changed(self) -> bool:
        """Whether anything differs from what the pipeline says."""
        return self.change != SessionChange(None, True, None)

    def session(self) -> Json:
        """The session object of `session.created` and `session.updated`."""
        interrupt = self.interrupt_response is not False
        detection = {"type": "server_vad", "create_response": True, "interrupt_response": interrupt}
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": f"sess_{self.session_id}",
            "model": self.pipeline,
            "output_modalities": ["audio"],
            "instructions": self.instructions or "",
            "audio": {
                "input": {"format": _PCM, "turn_detection": detection if self.server_vad else None},
                "output": {"format": _PCM},
            },
            "tools": [],
            "tool_choice": "auto",
        }


def _turn_detection(value: object, interrupt: bool | None) -> tuple[bool, bool | None]:
    """(server_vad, interrupt_response)."""
    where = "session.audio.input.turn_detection"
    if value is None:
        return False, interrupt
    detection = _object(value, where)
    kind = detection.get("type", "server_vad")
    _check(
        kind == "server_vad", f"{where}.type", f"{kind!r} is not known; {nearest(str(kind), ['server_vad'])} (or null)"
    )
    for field in _TURN_DETECTION:
        _check(detection.get(field) in (None, True, False), f"{where}.{field}", "takes true or false")
    _check(
        detection.get("create_response") is not False,
        f"{where}.create_response", "with server_vad a reply follows each utterance; set turn_detection to null, "
        "then input_audio_buffer.commit and response.create decide",
    )  # fmt: skip
    return True, detection.get("interrupt_response", interrupt)


def _check_format(side: Json, where: str) -> None:
    """Only PCM at 24 kHz goes over the wire; the older protocol wrote it as text."""
    shape = side.get("format")
    if shape in (None, "pcm16"):
        return
    given = _object(shape, where)
    if given.get("type", "audio/pcm") != "audio/pcm" or given.get("rate") not in (None, SDK_RATE):
        raise ProtocolError("unsupported_value", f"`{where}` takes {_PCM}, not {given}", where)


def _object(value: object, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError("invalid_value", f"`{where}` takes an object", where)
    return value


def _check(holds: bool, where: str, message: str) -> None:
    if not holds:
        raise ProtocolError("unsupported_value", f"`{where}`: {message}", where)
