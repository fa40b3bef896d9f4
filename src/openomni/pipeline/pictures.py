"""Pictures on their way to a model: only those that are used are decoded, in a thread, so that no turn waits for it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import MediaError
from ..events import AXIS_RATE, Message
from ..media import Frame
from ..records import FrameRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture that can be decoded; its pixels are held, so that the component which wants them has them at once."""

    frame: Frame
    sha256: str
    pixels: Any

    def record(self, recording: str) -> FrameRecord:
        return FrameRecord(self.sha256, max(round(self.frame.at * AXIS_RATE), 0), recording)


async def shown(frames: Iterable[Frame]) -> list[ShownPicture]:
    """Those of the frames that are whole, in their order; the log has a line of each other."""
    frames = list(frames)
    return await asyncio.to_thread(_shown, frames) if frames else []


async def with_whole_images(message: Message) -> Message:
    """The message less its broken pictures: it is told in each later turn, and one would fail them all."""
    if not message.images:
        return message
    return msgspec.structs.replace(message, images=tuple(each.frame for each in await shown(message.images)))


def _shown(frames: list[Frame]) -> list[ShownPicture]:
    found = []
    for frame in frames:
        try:
            found.append(ShownPicture(frame, hashlib.sha256(frame.jpeg()).hexdigest(), frame.pixels))
        except MediaError as error:
            log.warning("%r is left out: %s", frame, error)
    return found
