"""The binary frames between a client of ours and the gateway, little-endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from ..media import Audio

_CAPTURED = struct.Struct("<Qd")
_REPLY = struct.Struct("<16sIQ")


def captured_sound(position: int, captured: float, pcm: bytes) -> bytes:
    """PCM16 at 16 kHz from sample `position` on; its first sample was captured at `captured` on this clock."""
    return _CAPTURED.pack(position, captured) + pcm


def read_captured_sound(data: bytes) -> tuple[int, float, bytes]:
    """The other way: position, captured, pcm."""
    position, captured = _CAPTURED.unpack_from(data)
    return position, captured, data[_CAPTURED.size :]


@dataclass(frozen=True, slots=True)
class ReplyChunk:
    """Sound of a reply: PCM16 at `rate`, from sample `offset` of the reply on."""

    turn_id: str
    rate: int
    offset: int
    pcm: bytes

    @classmethod
    def unpack(cls, data: bytes) -> ReplyChunk:
        """Raises ValueError for what is no such frame."""
        if len(data) < _REPLY.size or (len(data) - _REPLY.size) % 2:
            raise ValueError(f"a frame of {len(data)} bytes is no reply audio")
        turn, rate, offset = _REPLY.unpack_from(data)
        return cls(turn.hex(), rate, offset, data[_REPLY.size :])

    def pack(self) -> bytes:
        return _REPLY.pack(bytes.fromhex(self.turn_id), self.rate, self.offset) + self.pcm

    @property
    def audio(self) -> Audio:
        return Audio.from_pcm16(self.pcm, self.rate)

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate


@dataclass(frozen=True, slots=True)
class Playback:
    """What was really played of a reply, with stamps on this machine's clock: `audible` is that of the first sample
    above −40 dBFS, `seconds` how much was played so far, `ended` whether that was all."""

    turn_id: str
    started: float
    audible: float | None
    seconds: float
    ended: bool

    @property
    def message(self) -> dict[str, Any]:
        return {"type": "openomni.playback", "turn_id": self.turn_id, "started": self.started,
                "audible": self.audible, "seconds": self.seconds, "ended": self.ended}  # fmt: skip
