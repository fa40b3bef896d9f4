"""Events on the bus, whatever their size: a message takes 1 MiB, so a larger one goes in pieces.

Sound is cut into pieces that are useful by themselves; anything else travels in parts that the receiver joins.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from nats.aio.msg import Msg

from ..events import AXIS_RATE, AudioIn, Event, ReplySound, Sound, Value
from ..media import Audio
from .connection import Bus, BusError

PIECE = 256 * 1024
"""Bytes of sound in one message."""
PART = 768 * 1024
"""Bytes of one part of anything else: with its headers, below NATS's limit of 1 MiB."""
LARGEST = 32 * 1024 * 1024
"""Bytes of one event; a larger one belongs into storage, not on the bus."""
MORE = "Oo-More"
"""Header of every part but the last."""


async def publish(bus: Bus, subject: str, data: bytes, reply: str = "") -> None:
    if len(data) > LARGEST:
        raise BusError(f"an event of {len(data) / 2**20:.0f} MiB is too large for the bus; send it by reference")
    last = (len(data) - 1) // PART * PART if data else 0
    for start in range(0, last, PART):
        await bus.publish(subject, data[start : start + PART], reply, {MORE: "1"})
    await bus.publish(subject, data[last:] if last else data, reply)


class Joiner:
    """Puts parts together; one per sender and subject, whose messages come in order."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, message: Msg) -> bytes | None:
        """The whole event, or None while parts are missing."""
        more = bool(message.headers and MORE in message.headers)
        if not more and not self._parts:
            return message.data
        self._parts.append(message.data)
        self._size += len(message.data)
        if self._size > LARGEST:
            self._parts, self._size = [], 0
            raise BusError(f"an event on {message.subject} is larger than {LARGEST // 2**20} MiB")
        if more:
            return None
        whole = b"".join(self._parts)
        self._parts, self._size = [], 0
        return whole


def pieces(value: Value) -> Iterator[Value]:
    """A long Sound in pieces that fit into a message, one after another; everything else as it is."""
    if not isinstance(value, Sound) or value.audio.samples.nbytes <= PIECE:
        yield value
        return
    samples, rate = value.audio.samples, value.audio.rate
    step = PIECE // samples.itemsize
    for first in range(0, len(samples), step):
        piece = Audio(samples[first : first + step], rate)
        words = () if first else value.words
        yield msgspec.structs.replace(value, audio=piece, start=value.start + first / rate, words=words)


def live_pieces(event: Event) -> Iterator[Event]:
    """The same for the PCM16 of a live session."""
    if not isinstance(event, AudioIn | ReplySound) or len(event.pcm) <= PIECE:
        yield event
        return
    for first in range(0, len(event.pcm), PIECE):
        pcm, samples = event.pcm[first : first + PIECE], first // 2
        if isinstance(event, AudioIn):
            yield msgspec.structs.replace(
                event, pcm=pcm, position=event.position + samples, captured=event.captured + samples / AXIS_RATE
            )
        else:
            yield msgspec.structs.replace(event, pcm=pcm, offset=event.offset + samples)
