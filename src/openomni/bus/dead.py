"""The dead letters: what failed too often or could not be read, kept with the reason, to be seen and tried again."""

from __future__ import annotations

import time
from typing import Literal

import msgspec
from nats.errors import Error as NatsError
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from . import subjects
from .connection import Bus, BusError, Stored


class DeadLetter(msgspec.Struct, kw_only=True):
    """`content` is the JSON of the turn (or record) as it was sent; `sequence` names the letter in its stream."""

    kind: Literal["turn", "record"]
    key: str
    reason: str
    attempts: int
    at: float
    """Unix time."""
    content: msgspec.Raw
    sequence: int = 0


_decoder = msgspec.json.Decoder(DeadLetter)


async def dead(bus: Bus, project: str, after: int = 0, limit: int = 100) -> list[DeadLetter]:
    """A project's dead letters, oldest first, from those with a sequence above `after`. For role `server`."""
    letters: list[DeadLetter] = []
    sequence = after
    while len(letters) < limit:
        message = await _letter(bus, sequence + 1, subjects.dead(project))
        if message is None:
            break
        letter = _decoder.decode(message.data or b"")
        letter.sequence = sequence = message.seq or 0
        letters.append(letter)
    return letters


async def retry(bus: Bus, project: str, sequence: int) -> Stored:
    """Puts a dead turn back into the queue with all its attempts anew, and takes it from the dead."""
    letter = await _one(bus, project, sequence)
    if letter.kind != "turn":
        raise BusError(f"dead letter {sequence} is a {letter.kind}; only turns can be queued again")
    work = msgspec.json.decode(letter.content)
    if not isinstance(work, dict):
        raise BusError(f"dead letter {sequence} is no turn of this version ({letter.reason}); discard it")
    work["ready_at"] = time.time()
    stored = await bus.store(subjects.work(project), msgspec.json.encode(work), f"{letter.key}-again-{sequence}")
    await discard(bus, project, sequence)
    return stored


async def discard(bus: Bus, project: str, sequence: int) -> None:
    """Forgets a dead letter for good."""
    await _one(bus, project, sequence)
    try:
        await bus.jetstream.delete_msg(subjects.DEAD, sequence)
    except (NatsError, TimeoutError) as error:
        raise BusError(f"dead letter {sequence} could not be deleted: {error}") from None


async def _one(bus: Bus, project: str, sequence: int) -> DeadLetter:
    message = await _letter(bus, sequence, subjects.dead(project))
    if message is None or message.seq != sequence:
        raise BusError(f"project {project} has no dead letter {sequence}")
    return _decoder.decode(message.data or b"")


async def _letter(bus: Bus, sequence: int, subject: str) -> RawStreamMsg | None:
    """The first one of a subject from `sequence` on."""
    try:
        return await bus.jetstream.get_msg(subjects.DEAD, seq=sequence, subject=subject, next=True)
    except NotFoundError:
        return None
    except (NatsError, TimeoutError) as error:
        raise BusError(f"the dead letters can't be read: {error}") from None
